import { textOf, type Item } from '../wire/resource'
import type { Message } from './state'

function stored(item: Item): Message | null {
  if (item.type !== 'message' || (item.role !== 'user' && item.role !== 'assistant')) return null
  const { id, role } = item
  if (item.status === 'completed') return { id, role, text: textOf(item), status: 'completed' }
  if (role === 'user') return { id, role, text: textOf(item), status: 'completed' }
  return { id, role, text: textOf(item), status: 'incomplete', shortened: 'unknown' }
}

/**
 * The server's list, plus what only this page knows: questions that never reached the server,
 * and the beginning of an answer that is still being written.
 */
export function merge(local: readonly Message[], items: readonly Item[]): readonly Message[] {
  const list = items.map(stored).filter((message) => message !== null)
  const known = new Set(local.map(({ id }) => id))
  const arrived = list.filter(({ id, role }) => role === 'user' && !known.has(id))
  const listed = new Set(list.map(({ id }) => id))
  const own = local.filter(({ id, role }) => role === 'user' && !listed.has(id))
  return [...kept(list, local), ...missing(own, arrived), ...partial(list, local)]
}

/** A message that has not changed stays the same object, so that it is not drawn again. */
function kept(list: readonly Message[], local: readonly Message[]): readonly Message[] {
  const before = new Map(local.map((message) => [message.id, message]))
  return list.map((message) => {
    const earlier = before.get(message.id)
    const same = earlier?.text === message.text && earlier.status === message.status
    return earlier !== undefined && same ? earlier : message
  })
}

/** The page's questions for which the server has none of the same text, in the same order. */
function missing(own: readonly Message[], arrived: readonly Message[]): readonly Message[] {
  let next = 0
  return own.filter((message) => {
    const at = arrived.findIndex(({ text }, index) => index >= next && text === message.text)
    if (at < 0) return true
    next = at + 1
    return false
  })
}

function partial(list: readonly Message[], local: readonly Message[]): readonly Message[] {
  const last = local.at(-1)
  if (last?.role !== 'assistant' || last.status !== 'streaming') return []
  return list.at(-1)?.role === 'user' ? [last] : []
}
