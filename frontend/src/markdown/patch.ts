import type { Block } from './blocks'
import { sanitise } from './sanitise'

/** Brings `host` from one state of a block to the next, touching as little as it can. */
export function draw(host: HTMLElement, previous: Block | null, next: Block): void {
  if (previous !== null && grow(host, previous, next)) return
  host.replaceChildren(sanitise(next.html))
}

/** A code block that only got longer keeps its nodes, and with them a selection in it. */
function grow(host: HTMLElement, { code: before }: Block, { code: after }: Block): boolean {
  if (!before || !after || before.language !== after.language) return false
  const text = host.querySelector('pre > code')?.firstChild
  if (!(text instanceof Text) || text.data !== before.text || !after.text.startsWith(before.text))
    return false
  text.appendData(after.text.slice(before.text.length))
  return true
}
