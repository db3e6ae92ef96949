import type { Block } from './blocks'
import { sanitise } from './sanitise'

/** Updates `host` from one rendering of a block to the next, with as few changes as possible. */
export function patchBlock(host: HTMLElement, previous: Block | null, next: Block): void {
  if (previous !== null && appendCode(host, previous, next)) return
  host.replaceChildren(sanitise(next.html))
}

/** Keeps the nodes of a code block that only grew, so that a selection in it survives. */
function appendCode(host: HTMLElement, { code: before }: Block, { code: after }: Block): boolean {
  if (!before || !after || before.language !== after.language) return false
  const text = host.querySelector('pre > code')?.firstChild
  if (!(text instanceof Text) || text.data !== before.text || !after.text.startsWith(before.text))
    return false
  text.appendData(after.text.slice(before.text.length))
  return true
}
