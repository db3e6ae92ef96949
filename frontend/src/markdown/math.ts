import type { MarkdownIt, StateBlock, StateInline } from 'markdown-it'

// Finds TeX between \( \), \[ \], $$ $$ and $ $; `typeset.ts` converts it to MathML.

const CLOSING: Record<string, string> = { '\\(': '\\)', '\\[': '\\]', $$: '$$' }

export function math(parser: MarkdownIt): void {
  const { escapeHtml } = parser.utils
  parser.inline.ruler.before('escape', 'math', inline)
  parser.block.ruler.before('fence', 'math', block, { alt: ['paragraph', 'blockquote', 'list'] })
  parser.renderer.rules['math'] = (tokens, at) => {
    const { content, markup } = tokens[at]!
    const display = markup === '\\[' || markup === '$$' ? ' display' : ''
    return `<span class="math${display}">${escapeHtml(content)}</span>`
  }
  parser.renderer.rules['math_block'] = (tokens, at, _options, env) => {
    const { content, info } = tokens[at]!
    const rest = info === '' ? '' : `<p>${parser.renderInline(info, env)}</p>\n`
    return `<div class="math display">${escapeHtml(content)}</div>\n${rest}`
  }
}

function inline(state: StateInline, silent: boolean): boolean {
  const { src, pos } = state
  const pair = src.slice(pos, pos + 2)
  const opening = Object.hasOwn(CLOSING, pair) ? pair : src[pos] === '$' ? '$' : null
  if (opening === null) return false
  const end = opening === '$' ? dollarEnd(src, pos) : src.indexOf(CLOSING[opening]!, pos + 2)
  if (end < 0 || end >= state.posMax) return false
  const content = src.slice(pos + opening.length, end).trim()
  if (content === '') return false
  if (!silent) {
    const token = state.push('math', 'math', 0)
    token.content = content
    token.markup = opening
  }
  state.pos = end + opening.length
  return true
}

/** Excludes "$5 and $6" and "$HOME:$PATH": no space inside the delimiters, no word character outside. */
function dollarEnd(src: string, pos: number): number {
  if (/\w/.test(src[pos - 1] ?? '') || /\s/.test(src[pos + 1] ?? ' ')) return -1
  let end = src.indexOf('$', pos + 1)
  while (end > 0 && src[end - 1] === '\\') end = src.indexOf('$', end + 1)
  return end < 0 || /\s/.test(src[end - 1]!) || /\w/.test(src[end + 1] ?? '') ? -1 : end
}

/**
 * Reads from a delimiter at the start of a line to the closing one, or to a blank line: TeX allows
 * no blank line, and an unclosed formula must not swallow the rest of the answer.
 */
function block(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  if (state.sCount[startLine]! - state.blkIndent >= 4) return false
  const line = (at: number): string =>
    state.src.slice(state.bMarks[at]! + state.tShift[at]!, state.eMarks[at])
  const [opening, first] = [line(startLine).slice(0, 2), line(startLine).slice(2)]
  const closing = opening === '\\(' ? undefined : CLOSING[opening]
  // Text after the closing delimiter makes it a sentence that begins with a formula.
  if (closing === undefined || /\S/.test(first.split(closing).slice(1).join(closing))) return false
  if (silent) return true

  const lines: string[] = []
  let rest: string | undefined
  let next = startLine
  for (; next < endLine && rest === undefined; next++) {
    const text = next === startLine ? first : line(next)
    if (next > startLine && (text.trim() === '' || state.sCount[next]! < state.blkIndent)) break
    const end = text.indexOf(closing)
    lines.push(end < 0 ? text : text.slice(0, end))
    if (end >= 0) rest = text.slice(end + 2).trim()
  }
  const token = state.push('math_block', 'math', 0)
  token.content = lines.join('\n').trim()
  token.info = rest ?? ''
  token.map = [startLine, next]
  state.line = next
  return true
}
