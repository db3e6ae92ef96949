import { textOf, type Item } from '../api/resources'
import type { ErrorEvent, ResponseResource, ServerEvent } from '../api/events'
import { shown } from './merge'
import type { Chat, Failure, Message, Shortened, Turn, Window } from './state'

/** One event of the protocol, applied to the chat whose turn it belongs to. */
export function received(chat: Chat, event: ServerEvent): Chat {
  if (chat.turn === null) return chat
  switch (event.type) {
    case 'error':
      return event.sequence_number === undefined
        ? refused(chat, chat.turn, event)
        : { ...chat, turn: { ...chat.turn, failure: failureOf(event) } }
    case 'response.created':
      return {
        ...chat,
        turn: { ...chat.turn, responseId: event.response.id },
        messages: chat.messages.map(accepted),
      }
    case 'response.in_progress':
      return { ...chat, window: windowOf(event.response, chat.window) }
    case 'response.output_item.added':
      return begun(chat, chat.turn, event.item)
    case 'response.output_text.delta':
    case 'response.reasoning_text.delta':
    case 'response.function_call_arguments.delta':
      return rewritten(chat, event.item_id, (text) => text + event.delta)
    case 'response.output_item.done':
      return rewritten(chat, event.item.id, () => textOf(event.item))
    case 'response.completed':
      return ended(chat, event.response, null)
    case 'response.incomplete':
      return ended(chat, event.response, reason(event.response))
    case 'response.failed':
      return ended(chat, event.response, 'failed')
    case 'other':
      return chat
  }
}

export const waiting: Turn = {
  phase: 'waiting',
  responseId: null,
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

function refused(chat: Chat, turn: Turn, event: ErrorEvent): Chat {
  // Once the turn runs, an error without a number answers something else, as a late cancel.
  return turn.responseId === null ? unsent(chat, failureOf(event)) : chat
}

function failureOf({ error }: ErrorEvent): Failure {
  return { code: error.code ?? error.type, message: error.message }
}

/** One item is written at a time: the one before is complete. A replay begins the same one anew. */
function begun(chat: Chat, turn: Turn, item: Item): Chat {
  const message = shown(item, 'streaming')
  if (message?.role !== 'assistant') return chat
  const before = chat.messages.map((one): Message =>
    one.status === 'streaming' ? { ...one, status: 'completed' } : one,
  )
  const at = before.findIndex(({ id }) => id === message.id)
  const messages = at < 0 ? [...before, message] : before.with(at, message)
  return { ...chat, messages, turn: { ...turn, phase: 'streaming' } }
}

function rewritten(chat: Chat, id: string, change: (text: string) => string): Chat {
  const at = chat.messages.findLastIndex((message) => message.id === id)
  const message = chat.messages[at]
  if (message === undefined) return chat
  const text = change(message.text)
  if (text === message.text) return chat
  return { ...chat, messages: chat.messages.with(at, { ...message, text }) }
}

/** The engine's own number where it has told one. */
function windowOf({ window, usage }: ResponseResource, before: Window | null): Window | null {
  if (!window) return before
  const { items_left_out: leftOut, input_tokens: input, context_tokens: context } = window
  return {
    leftOut,
    usedTokens: input === null ? (before?.usedTokens ?? null) : input + (usage?.output_tokens ?? 0),
    contextTokens: context ?? before?.contextTokens ?? null,
  }
}

function reason(response: ResponseResource): Shortened {
  const why = response.incomplete_details?.reason
  if (why === 'max_output_tokens') return 'length'
  return why === 'cancelled' ? 'stopped' : 'unknown'
}

function ended(chat: Chat, response: ResponseResource, shortened: Shortened | null): Chat {
  const end = ending(response, shortened, chat.turn)
  const open = chat.messages.some(({ status }) => status === 'streaming')
  const id = `nothing-${response.id}`
  const messages = chat.messages
    .filter((message) => message.id !== id)
    .map((message): Message =>
      message.status === 'streaming' ? { ...message, ...end } : accepted(message),
    )
  // A turn that ended before its first word still shows that it did.
  const trace: readonly Message[] =
    open || shortened === null ? [] : [{ id, role: 'assistant', text: '', ...end }]
  return {
    ...chat,
    messages: [...messages, ...trace],
    turn: null,
    window: windowOf(response, chat.window),
  }
}

type Ending = Pick<Message, 'status' | 'shortened' | 'failure' | 'stoppedInMs'>

function ending(
  response: ResponseResource,
  shortened: Shortened | null,
  turn: Turn | null,
): Ending {
  if (shortened === null) return { status: 'completed' }
  const failure = response.error ?? turn?.failure ?? null
  const stoppedInMs = response.incomplete_details?.stopped_in_ms
  return {
    status: 'incomplete',
    shortened,
    ...(failure && { failure }),
    ...(stoppedInMs !== undefined && { stoppedInMs }),
  }
}
