import type { Kind } from './tokenizer'
import { grammarOf } from './grammars'

interface Painted {
  readonly kind: Kind
  readonly range: AbstractRange
}

/** Longer code stays plain: colouring it would hold up the page. */
const LONGEST = 30_000

/** Far enough that code is coloured before it is scrolled into view. */
const NEAR = '800px'

/**
 * Colours the code in `host` by the CSS Custom Highlight API: the nodes stay as they are, so a
 * selection survives and no inline style is needed. Only while it is near the view, because a
 * browser looks through all ranges for every frame. Returns how to end it.
 */
export function paint(host: HTMLElement): () => void {
  const codes = host.querySelectorAll<HTMLElement>('pre > code')
  if (codes.length === 0 || !('highlights' in CSS)) return () => {}
  const painted = new Map<Element, Promise<readonly Painted[]>>()
  const erase = (code: Element): void => {
    void painted
      .get(code)
      ?.then((ranges) => ranges.forEach(({ kind, range }) => highlightOf(kind).delete(range)))
    painted.delete(code)
  }
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        erase(target)
        if (isIntersecting) painted.set(target, added(target as HTMLElement))
      }
    },
    { rootMargin: NEAR },
  )
  for (const code of codes) observer.observe(code)
  return () => {
    observer.disconnect()
    for (const code of codes) erase(code)
  }
}

async function added(code: HTMLElement): Promise<readonly Painted[]> {
  const ranges = await rangesOf(code)
  for (const { kind, range } of ranges) highlightOf(kind).add(range)
  return ranges
}

async function rangesOf(code: HTMLElement): Promise<readonly Painted[]> {
  const text = code.firstChild
  const grammar = grammarOf(code.dataset['language'] ?? '')
  if (
    grammar === null ||
    !(text instanceof Text) ||
    text.length > LONGEST ||
    !('highlights' in CSS)
  )
    return []
  try {
    const [{ spansOf }, { default: registrations }] = await Promise.all([
      import('./tokenizer'),
      grammar(),
    ])
    return spansOf(text.data, registrations).map(({ kind, start, end }) => ({
      kind,
      range: new StaticRange({
        startContainer: text,
        startOffset: start,
        endContainer: text,
        endOffset: end,
      }),
    }))
  } catch {
    // A chunk that could not be loaded, or a grammar this browser cannot run: plain code is fine.
    return []
  }
}

function highlightOf(kind: Kind): Highlight {
  const known = CSS.highlights.get(kind)
  if (known !== undefined) return known
  const highlight = new Highlight()
  CSS.highlights.set(kind, highlight)
  return highlight
}
