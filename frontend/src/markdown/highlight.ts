import type { TokenKind } from './tokenizer'
import { grammarOf } from './grammars'

interface HighlightedRange {
  readonly kind: TokenKind
  readonly range: AbstractRange
}

/** Longer code stays plain: tokenizing it would block the page. */
const MAX_LENGTH = 30_000

/** Large enough to colour code before it is scrolled into view. */
const ROOT_MARGIN = '800px'

/**
 * Colours the code in `host` with the CSS Custom Highlight API: the nodes do not change, so a
 * selection survives and no inline style is needed. Colours only code near the viewport, because
 * the browser scans all ranges for every frame. Returns a function that removes the colours.
 */
export function highlightCode(host: HTMLElement): () => void {
  const codes = host.querySelectorAll<HTMLElement>('pre > code')
  if (codes.length === 0 || !('highlights' in CSS)) return () => {}
  const highlighted = new Map<Element, Promise<readonly HighlightedRange[]>>()
  const remove = (code: Element): void => {
    void highlighted
      .get(code)
      ?.then((ranges) => ranges.forEach(({ kind, range }) => highlightOf(kind).delete(range)))
    highlighted.delete(code)
  }
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        remove(target)
        if (isIntersecting) highlighted.set(target, addRanges(target as HTMLElement))
      }
    },
    { rootMargin: ROOT_MARGIN },
  )
  for (const code of codes) observer.observe(code)
  return () => {
    observer.disconnect()
    for (const code of codes) remove(code)
  }
}

async function addRanges(code: HTMLElement): Promise<readonly HighlightedRange[]> {
  const ranges = await rangesOf(code)
  for (const { kind, range } of ranges) highlightOf(kind).add(range)
  return ranges
}

async function rangesOf(code: HTMLElement): Promise<readonly HighlightedRange[]> {
  const text = code.firstChild
  const grammar = grammarOf(code.dataset['language'] ?? '')
  if (
    grammar === null ||
    !(text instanceof Text) ||
    text.length > MAX_LENGTH ||
    !('highlights' in CSS)
  )
    return []
  try {
    const [{ tokenize }, { default: registrations }] = await Promise.all([
      import('./tokenizer'),
      grammar(),
    ])
    return tokenize(text.data, registrations).map(({ kind, start, end }) => ({
      kind,
      range: new StaticRange({
        startContainer: text,
        startOffset: start,
        endContainer: text,
        endOffset: end,
      }),
    }))
  } catch {
    // The chunk failed to load, or the browser does not support the grammar: the code stays plain.
    return []
  }
}

function highlightOf(kind: TokenKind): Highlight {
  const existing = CSS.highlights.get(kind)
  if (existing !== undefined) return existing
  const highlight = new Highlight()
  CSS.highlights.set(kind, highlight)
  return highlight
}
