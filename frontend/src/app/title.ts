const LONGEST = 48

/** The first words of a conversation, short enough for one line of the side bar. */
export function titleOf(text: string): string {
  const line = text.trim().split('\n', 1)[0]?.replace(/\s+/g, ' ').trim() ?? ''
  const letters = [...line]
  if (letters.length <= LONGEST) return line
  const cut = letters.slice(0, LONGEST).join('')
  // Chinese has no spaces to cut at, and a very long word would leave nothing.
  const space = cut.lastIndexOf(' ')
  return `${(space > LONGEST / 2 ? cut.slice(0, space) : cut).trimEnd()}…`
}
