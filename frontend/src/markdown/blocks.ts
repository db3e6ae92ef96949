import { createParser, languageOf, type Env, type Token } from './parser'

/** One top-level block of an answer. The same object as before means: not changed. */
export interface Block {
  readonly html: string
  /** Set for a code block, whose text can grow without being drawn again. */
  readonly code: { readonly language: string; readonly text: string } | null
}

export interface Rendering {
  readonly text: string
  readonly blocks: readonly Block[]
  /** How many blocks no further text can change, and the offset where they end. */
  readonly settled: { readonly blocks: number; readonly offset: number }
  /** What the settled blocks leave for the rest: addresses of links, headings that are open. */
  readonly env: Env
}

interface Span {
  readonly tokens: Token[]
  readonly line: number
}

const parser = createParser()

export const nothing: Rendering = {
  text: '',
  blocks: [],
  settled: { blocks: 0, offset: 0 },
  env: {},
}

/** The rendering of `text`; of a growing text only the end is parsed again. */
export function render(previous: Rendering, source: string, done: boolean): Rendering {
  const text = source.includes('\r') ? source.replace(/\r\n?/g, '\n') : source
  // The last time everything is parsed at once: a link's address may come long after the link.
  const before =
    !done && text.startsWith(previous.text) ? previous : { ...nothing, blocks: previous.blocks }
  const { blocks: count, offset } = before.settled
  const env = copy(before.env)
  const spans = split(parser.parse(text.slice(offset), env))
  const fresh = spans.map(({ tokens }) => blockOf(tokens, env))
  const blocks = [
    ...before.blocks.slice(0, count),
    ...fresh.map((block, index) => unchanged(previous.blocks[count + index], block)),
  ]
  return { text, blocks, ...settle(before, text, spans) }
}

function split(tokens: Token[]): Span[] {
  const spans: Span[] = []
  let start = 0
  tokens.forEach((token, index) => {
    if (token.level !== 0 || token.nesting === 1) return
    spans.push({ tokens: tokens.slice(start, index + 1), line: tokens[start]?.map?.[0] ?? 0 })
    start = index + 1
  })
  return spans
}

function blockOf(tokens: Token[], env: Env): Block {
  const [first] = tokens
  const isCode = first?.type === 'fence' || first?.type === 'code_block'
  return {
    html: parser.renderer.render(tokens, parser.options, env),
    code: isCode ? { language: languageOf(first), text: first.content } : null,
  }
}

function unchanged(previous: Block | undefined, next: Block): Block {
  return previous?.html === next.html ? previous : next
}

/**
 * A block is settled once another one has begun with two complete lines: the first letters of a
 * line may look like a new block ("-") and turn out to continue the old one ("-5 degrees"), and
 * whether a table begins is decided by its second line.
 */
function settle(
  before: Rendering,
  text: string,
  spans: readonly Span[],
): Pick<Rendering, 'settled' | 'env'> {
  const { settled, env } = before
  const tail = text.slice(settled.offset)
  const starts = lineStarts(tail)
  const open = spans.findLastIndex(({ line }) => line < starts.length - 2)
  const start = starts[spans[open]?.line ?? 0] ?? 0
  if (open <= 0 || start === 0) return { settled, env }
  const next = copy(env)
  parser.parse(tail.slice(0, start), next)
  return { settled: { blocks: settled.blocks + open, offset: settled.offset + start }, env: next }
}

/** Parsing adds to an environment. */
function copy(env: Env): Env {
  return { ...env, references: { ...env.references } }
}

function lineStarts(text: string): number[] {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}
