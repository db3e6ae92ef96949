/** A sentence with numbers in the places of its `{}`, one after the other. */
export function filled(sentence: string, ...numbers: readonly number[]): string {
  const next = numbers.values()
  return sentence.replaceAll('{}', () => (next.next().value ?? 0).toLocaleString('en'))
}
