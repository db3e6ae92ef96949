const MAX_LENGTH = 48

/** Returns the first words of a question, short enough for one line of the sidebar. */
export function titleFromText(text: string): string {
  const line = text.trim().split('\n', 1)[0]?.replace(/\s+/g, ' ').trim() ?? ''
  const characters = [...line]
  if (characters.length <= MAX_LENGTH) return line
  const cut = characters.slice(0, MAX_LENGTH).join('')
  // Chinese has no spaces to cut at, and cutting before a very long word would leave nothing.
  const space = cut.lastIndexOf(' ')
  return `${(space > MAX_LENGTH / 2 ? cut.slice(0, space) : cut).trimEnd()}…`
}
