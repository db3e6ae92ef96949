/** Replaces each `{}` of a template by the next value. */
export function format(template: string, ...values: readonly (number | string)[]): string {
  const next = values.values()
  return template.replaceAll('{}', () => (next.next().value ?? '').toLocaleString('en'))
}
