import MarkdownIt, { type Env, type MarkdownIt as Parser, type Token } from 'markdown-it'
import cjkFriendly from 'markdown-it-cjk-friendly'
import { math } from './math'

const { escapeHtml } = MarkdownIt().utils

/** Raw HTML stays text; the output is sanitised in any case. */
export function createParser(): Parser {
  const parser = new MarkdownIt({ html: false, linkify: true })
  parser.use(cjkFriendly)
  parser.use(math)
  // "main.py" and "README.md" are file names, not domains.
  parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false })
  parser.core.ruler.push('outline', ({ tokens, env }) => outline(tokens, env))
  parser.core.ruler.push('align', ({ tokens }) => tokens.forEach(align))
  parser.renderer.rules.fence = parser.renderer.rules.code_block = (tokens, at) => code(tokens[at]!)
  parser.renderer.rules.image = image
  parser.renderer.rules.table_open = () => '<div class="table" tabindex="0"><table>\n'
  parser.renderer.rules.table_close = () => '</table></div>\n'
  return parser
}

export type { Env, Token }

export function languageOf(token: Token): string {
  return /^[\w+#.-]{1,30}/.exec(token.info.trim())?.[0].toLowerCase() ?? ''
}

/**
 * Assigns heading tags without gaps below the page's own h1, whatever level an answer begins with.
 * The class keeps the size of the Markdown level. `env.levels` holds the open headings, so that the
 * rest of a growing answer can be parsed on its own.
 */
function outline(tokens: Token[], env: Env): void {
  let levels = (env['levels'] as readonly number[] | undefined) ?? []
  for (const token of tokens) {
    if (token.type !== 'heading_open' && token.type !== 'heading_close') continue
    const level = token.markup === '=' ? 1 : token.markup === '-' ? 2 : token.markup.length
    if (token.nesting === 1) {
      levels = [...levels.filter((open) => open < level), level]
      token.attrSet('class', `level-${level}`)
    }
    token.tag = `h${Math.min(6, levels.length + 1)}`
  }
  env['levels'] = levels
}

/** Aligns by class, because the content security policy forbids inline styles. */
function align(token: Token): void {
  if (token.type !== 'th_open' && token.type !== 'td_open') return
  const side = /text-align:(left|center|right)/.exec(String(token.attrGet('style') ?? ''))?.[1]
  token.attrs = side === undefined ? null : [['class', side]]
}

function code(token: Token): string {
  const language = escapeHtml(languageOf(token))
  return (
    `<div class="code"><div class="code-bar"><span class="code-name">${language}</span>` +
    `<button type="button" class="copy"></button></div>` +
    `<pre tabindex="0"><code data-language="${language}">${escapeHtml(token.content)}</code></pre></div>\n`
  )
}

/** Renders an image as a link: loading its URL could leak the conversation to a third party. */
function image(tokens: Token[], at: number): string {
  const token = tokens[at]!
  const url = String(token.attrGet('src') ?? '')
  const name = escapeHtml(token.content || url)
  const inside = tokens.slice(0, at).reduce((depth, { type }) => depth + linkDepth(type), 0) > 0
  return inside ? name : `<a href="${escapeHtml(url)}">${name}</a>`
}

function linkDepth(type: string): number {
  if (type === 'link_open') return 1
  return type === 'link_close' ? -1 : 0
}
