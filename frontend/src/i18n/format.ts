/** A sentence with these in the places of its `{}`, one after the other. */
export function filled(sentence: string, ...parts: readonly (number | string)[]): string {
  const next = parts.values()
  return sentence.replaceAll('{}', () => (next.next().value ?? '').toLocaleString('en'))
}
