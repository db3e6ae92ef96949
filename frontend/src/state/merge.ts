import { textOf, type Item } from '../api/resources'
import type { Message, MessageStatus } from './state'

/** What the page shows of an item; null for what it has no words for. */
export function shown(item: Item, status: MessageStatus): Message | null {
  const { id, type, role } = item
  const text = textOf(item)
  if (type === 'message' && (role === 'user' || role === 'assistant'))
    return { id, role, text, status }
  if (type === 'reasoning') return { id, role: 'assistant', aside: 'thought', text, status }
  if (type === 'function_call')
    return { id, role: 'assistant', aside: 'call', name: item.name ?? '', text, status }
  return null
}

function stored(item: Item): Message | null {
  const message = shown(item, 'completed')
  // Some clients keep reasoning that only its model's maker can read.
  if (message?.aside === 'thought' && message.text === '') return null
  const whole = item.status === 'completed' || item.status === undefined
  if (message === null || message.role === 'user' || whole) return message
  return { ...message, status: 'incomplete', shortened: 'unknown' }
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

/** All of an answer that is being written: its thoughts and calls are complete before its text. */
function partial(list: readonly Message[], local: readonly Message[]): readonly Message[] {
  if (local.at(-1)?.status !== 'streaming' || list.at(-1)?.role !== 'user') return []
  return local.slice(local.findLastIndex(({ role }) => role === 'user') + 1)
}
