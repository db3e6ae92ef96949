import { createParser, languageOf, type Env, type Token } from './parser'

/** One top-level block of an answer. An unchanged block stays the same object. */
export interface Block {
  readonly html: string
  /** Set for a code block, whose text can be appended to without a new rendering. */
  readonly code: { readonly language: string; readonly text: string } | null
}

export interface Rendering {
  readonly text: string
  readonly blocks: readonly Block[]
  /** The number of blocks that further text cannot change, and the offset where they end. */
  readonly settled: { readonly blocks: number; readonly offset: number }
  /** What the settled blocks define for the rest: link references and the levels of open headings. */
  readonly env: Env
}

interface Span {
  readonly tokens: Token[]
  readonly line: number
}

const parser = createParser()

export const emptyRendering: Rendering = {
  text: '',
  blocks: [],
  settled: { blocks: 0, offset: 0 },
  env: {},
}

/** Renders `source`; for a growing text, only the end is parsed again. */
export function render(previous: Rendering, source: string, done: boolean): Rendering {
  const text = source.includes('\r') ? source.replace(/\r\n?/g, '\n') : source
  // The final rendering parses everything: a link reference may come long after its link.
  const base =
    !done && text.startsWith(previous.text)
      ? previous
      : { ...emptyRendering, blocks: previous.blocks }
  const { blocks: count, offset } = base.settled
  const env = copyEnv(base.env)
  const spans = splitBlocks(parser.parse(text.slice(offset), env))
  const rendered = spans.map(({ tokens }) => blockOf(tokens, env))
  const blocks = [
    ...base.blocks.slice(0, count),
    ...rendered.map((block, index) => reuseUnchanged(previous.blocks[count + index], block)),
  ]
  return { text, blocks, ...settle(base, text, spans) }
}

function splitBlocks(tokens: Token[]): Span[] {
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

function reuseUnchanged(previous: Block | undefined, next: Block): Block {
  return previous?.html === next.html ? previous : next
}

/**
 * Settles a block once the next one has two complete lines: the first characters of a line may
 * look like a new block ("-") but continue the old one ("-5 degrees"), and only the second line
 * of a table makes it a table.
 */
function settle(
  base: Rendering,
  text: string,
  spans: readonly Span[],
): Pick<Rendering, 'settled' | 'env'> {
  const { settled, env } = base
  const tail = text.slice(settled.offset)
  const starts = lineStarts(tail)
  const open = spans.findLastIndex(({ line }) => line < starts.length - 2)
  const start = starts[spans[open]?.line ?? 0] ?? 0
  if (open <= 0 || start === 0) return { settled, env }
  const next = copyEnv(env)
  parser.parse(tail.slice(0, start), next)
  return { settled: { blocks: settled.blocks + open, offset: settled.offset + start }, env: next }
}

/** Parsing mutates an environment. */
function copyEnv(env: Env): Env {
  return { ...env, references: { ...env.references } }
}

function lineStarts(text: string): number[] {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}
