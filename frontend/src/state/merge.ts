import { textOf, type Item } from '../api/resources'
import type { Message, MessageStatus } from './state'

/** Returns the message that displays an item; null for items that are not displayed. */
export function toMessage(item: Item, status: MessageStatus): Message | null {
  const { id, type, role } = item
  const text = textOf(item)
  if (type === 'message' && (role === 'user' || role === 'assistant'))
    return { id, role, text, status }
  if (type === 'reasoning') return { id, role: 'assistant', step: 'reasoning', text, status }
  if (type === 'function_call')
    return { id, role: 'assistant', step: 'function_call', name: item.name ?? '', text, status }
  return null
}

function toStoredMessage(item: Item): Message | null {
  const message = toMessage(item, 'completed')
  // Some clients store encrypted reasoning, which has no text.
  if (message?.step === 'reasoning' && message.text === '') return null
  const isComplete = item.status === 'completed' || item.status === undefined
  if (message === null || message.role === 'user' || isComplete) return message
  return { ...message, status: 'incomplete', incompleteReason: 'unknown' }
}

/**
 * Merges the stored items with what only this page has: questions that never reached the server,
 * and the beginning of an answer that is still being generated.
 */
export function merge(local: readonly Message[], items: readonly Item[]): readonly Message[] {
  const stored = items.map(toStoredMessage).filter((message) => message !== null)
  const localIds = new Set(local.map(({ id }) => id))
  const arrived = stored.filter(({ id, role }) => role === 'user' && !localIds.has(id))
  const storedIds = new Set(stored.map(({ id }) => id))
  const own = local.filter(({ id, role }) => role === 'user' && !storedIds.has(id))
  return [
    ...reuseUnchanged(stored, local),
    ...findUnsent(own, arrived),
    ...findPartialAnswer(stored, local),
  ]
}

/** Keeps the same object for an unchanged message, so that it is not drawn again. */
function reuseUnchanged(stored: readonly Message[], local: readonly Message[]): readonly Message[] {
  const localById = new Map(local.map((message) => [message.id, message]))
  return stored.map((message) => {
    const known = localById.get(message.id)
    const isSame = known?.text === message.text && known.status === message.status
    return known !== undefined && isSame ? known : message
  })
}

/** Returns the page's questions without a stored question of the same text, in the same order. */
function findUnsent(own: readonly Message[], arrived: readonly Message[]): readonly Message[] {
  let next = 0
  return own.filter((message) => {
    const at = arrived.findIndex(({ text }, index) => index >= next && text === message.text)
    if (at < 0) return true
    next = at + 1
    return false
  })
}

/** Returns all messages of a streaming answer: its steps are complete before its text. */
function findPartialAnswer(
  stored: readonly Message[],
  local: readonly Message[],
): readonly Message[] {
  if (local.at(-1)?.status !== 'streaming' || stored.at(-1)?.role !== 'user') return []
  return local.slice(local.findLastIndex(({ role }) => role === 'user') + 1)
}
