import { textOf, type Item } from '../wire/resource'
import type { ResponseResource, ServerEvent } from '../wire/event'
import type { Chat, Message, Shortened, Turn } from './state'

/** One event of the protocol, applied to the chat whose turn it belongs to. */
export function received(chat: Chat, event: ServerEvent): Chat {
  if (chat.turn === null) return chat
  switch (event.type) {
    case 'error':
      return event.sequence_number === undefined
        ? refused(chat, chat.turn, event)
        : noted(chat, chat.turn, event)
    case 'response.created':
      return withTurn(
        chat,
        { ...chat.turn, responseId: event.response.id, sequence: event.sequence_number },
        accepted,
      )
    case 'response.in_progress':
      return seen(chat, event.sequence_number)
    case 'response.output_item.added':
      return seen(begun(chat, event.item), event.sequence_number)
    case 'response.output_text.delta':
      return seen(
        rewritten(chat, event.item_id, (text) => text + event.delta),
        event.sequence_number,
      )
    case 'response.output_text.done':
      return seen(
        rewritten(chat, event.item_id, () => event.text),
        event.sequence_number,
      )
    case 'response.output_item.done':
      return seen(closed(chat, event.item), event.sequence_number)
    case 'response.completed':
      return ended(chat, null)
    case 'response.incomplete':
      return ended(chat, reason(event.response))
    case 'response.failed':
      return ended(chat, 'failed', event.response)
  }
}

export const waiting: Turn = {
  phase: 'waiting',
  responseId: null,
  sequence: -1,
  stopping: false,
  failure: null,
}

/** The question could not be sent, or was turned down: it stays, to be sent again. */
export function unsent(chat: Chat, failure: Message['failure']): Chat {
  const messages = chat.messages.map((message) =>
    message.status === 'sending'
      ? { ...message, status: 'unsent' as const, ...(failure && { failure }) }
      : message,
  )
  return { ...chat, messages, turn: null }
}

export function accepted(message: Message): Message {
  return message.status === 'sending' ? { ...message, status: 'completed' } : message
}

function withTurn(chat: Chat, turn: Turn, change: (message: Message) => Message): Chat {
  return { ...chat, turn, messages: chat.messages.map(change) }
}

function seen(chat: Chat, sequence: number): Chat {
  return chat.turn === null ? chat : { ...chat, turn: { ...chat.turn, sequence } }
}

function refused(chat: Chat, turn: Turn, event: Extract<ServerEvent, { type: 'error' }>): Chat {
  // Once the turn runs, an error without a number answers something else, as a late cancel.
  if (turn.responseId !== null) return chat
  return unsent(chat, { code: event.error.code ?? event.error.type, message: event.error.message })
}

function noted(chat: Chat, turn: Turn, event: Extract<ServerEvent, { type: 'error' }>): Chat {
  const failure = { code: event.error.code ?? event.error.type, message: event.error.message }
  return { ...chat, turn: { ...turn, failure } }
}

function begun(chat: Chat, item: Item): Chat {
  if (chat.turn === null || item.type !== 'message' || item.role !== 'assistant') return chat
  const message: Message = { id: item.id, role: 'assistant', text: '', status: 'streaming' }
  return {
    ...chat,
    messages: [...chat.messages, message],
    turn: { ...chat.turn, phase: 'streaming' },
  }
}

function rewritten(chat: Chat, id: string, change: (text: string) => string): Chat {
  const at = chat.messages.findLastIndex((message) => message.id === id)
  const message = chat.messages[at]
  if (message === undefined) return chat
  const text = change(message.text)
  if (text === message.text) return chat
  return { ...chat, messages: chat.messages.with(at, { ...message, text }) }
}

function closed(chat: Chat, item: Item): Chat {
  return item.type === 'message' ? rewritten(chat, item.id, () => textOf(item)) : chat
}

function reason(response: ResponseResource): Shortened {
  const why = response.incomplete_details?.reason
  if (why === 'max_output_tokens') return 'length'
  return why === 'cancelled' ? 'stopped' : 'unknown'
}

function ended(chat: Chat, shortened: Shortened | null, response?: ResponseResource): Chat {
  const failure = response?.error ?? chat.turn?.failure ?? null
  const end = (message: Message): Message => {
    if (message.status !== 'streaming') return accepted(message)
    if (shortened === null) return { ...message, status: 'completed' }
    return { ...message, status: 'incomplete', shortened, ...(failure && { failure }) }
  }
  const messages = chat.messages.map(end)
  if (messages.at(-1)?.role === 'assistant' || shortened === null)
    return { ...chat, messages, turn: null }
  return {
    ...chat,
    messages: [...messages, nothing(shortened, failure, chat.turn?.responseId ?? '')],
    turn: null,
  }
}

/** A turn that ended before its first word still shows that it did. */
function nothing(
  shortened: Shortened,
  failure: Message['failure'] | null,
  response: string,
): Message {
  const id = `nothing-${response}`
  const message: Message = { id, role: 'assistant', text: '', status: 'incomplete', shortened }
  return failure ? { ...message, failure } : message
}
