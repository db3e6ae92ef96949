import { textOf, type Item } from '../api/resources'
import type { ErrorEvent, ResponseResource, ServerEvent } from '../api/events'
import { toMessage } from './merge'
import type { Chat, ContextWindow, Failure, IncompleteReason, Message, Turn } from './state'

/** Applies a server event to the chat of its turn. */
export function applyServerEvent(chat: Chat, event: ServerEvent): Chat {
  if (chat.turn === null) return chat
  switch (event.type) {
    case 'error':
      return event.sequence_number === undefined
        ? rejectTurn(chat, chat.turn, event)
        : { ...chat, turn: { ...chat.turn, failure: failureOf(event) } }
    case 'response.created':
      return {
        ...chat,
        turn: { ...chat.turn, responseId: event.response.id },
        messages: chat.messages.map(markAccepted),
      }
    case 'response.in_progress':
      return { ...chat, window: windowOf(event.response, chat.window) }
    case 'response.output_item.added':
      return startItem(chat, chat.turn, event.item)
    case 'response.output_text.delta':
    case 'response.reasoning_text.delta':
    case 'response.function_call_arguments.delta':
      return updateText(chat, event.item_id, (text) => text + event.delta)
    case 'response.output_item.done':
      return updateText(chat, event.item.id, () => textOf(event.item))
    case 'response.completed':
      return endTurn(chat, event.response, null)
    case 'response.incomplete':
      return endTurn(chat, event.response, reasonOf(event.response))
    case 'response.failed':
      return endTurn(chat, event.response, 'failed')
    case 'other':
      return chat
  }
}

export const waitingTurn: Turn = {
  phase: 'waiting',
  responseId: null,
  stopping: false,
  stopFailed: false,
  failure: null,
}

/** Keeps a question that could not be sent, or that the server rejected, for a retry. */
export function markUnsent(chat: Chat, failure: Message['failure']): Chat {
  const messages = chat.messages.map((message) =>
    message.status === 'sending'
      ? { ...message, status: 'unsent' as const, ...(failure && { failure }) }
      : message,
  )
  return { ...chat, messages, turn: null }
}

export function markAccepted(message: Message): Message {
  return message.status === 'sending' ? { ...message, status: 'completed' } : message
}

function rejectTurn(chat: Chat, turn: Turn, event: ErrorEvent): Chat {
  // During a turn, an error without a number replies to something else, such as a late cancel.
  return turn.responseId === null ? markUnsent(chat, failureOf(event)) : chat
}

function failureOf({ error }: ErrorEvent): Failure {
  return { code: error.code ?? error.type, message: error.message }
}

/** Items stream one at a time: the previous one is complete. A replay restarts the same item. */
function startItem(chat: Chat, turn: Turn, item: Item): Chat {
  const message = toMessage(item, 'streaming')
  if (message?.role !== 'assistant') return chat
  const previous = chat.messages.map((one): Message =>
    one.status === 'streaming' ? { ...one, status: 'completed' } : one,
  )
  const at = previous.findIndex(({ id }) => id === message.id)
  const messages = at < 0 ? [...previous, message] : previous.with(at, message)
  return { ...chat, messages, turn: { ...turn, phase: 'streaming' } }
}

function updateText(chat: Chat, id: string, update: (text: string) => string): Chat {
  const at = chat.messages.findLastIndex((message) => message.id === id)
  const message = chat.messages[at]
  if (message === undefined) return chat
  const text = update(message.text)
  if (text === message.text) return chat
  return { ...chat, messages: chat.messages.with(at, { ...message, text }) }
}

/** Keeps known token counts where the response does not report new ones. */
function windowOf(
  { window, usage }: ResponseResource,
  previous: ContextWindow | null,
): ContextWindow | null {
  if (!window) return previous
  const { items_left_out: leftOut, input_tokens: input, context_tokens: context } = window
  return {
    leftOut,
    usedTokens:
      input === null ? (previous?.usedTokens ?? null) : input + (usage?.output_tokens ?? 0),
    contextTokens: context ?? previous?.contextTokens ?? null,
  }
}

function reasonOf(response: ResponseResource): IncompleteReason {
  const reason = response.incomplete_details?.reason
  if (reason === 'max_output_tokens') return 'length'
  return reason === 'cancelled' ? 'stopped' : 'unknown'
}

function endTurn(chat: Chat, response: ResponseResource, reason: IncompleteReason | null): Chat {
  const outcome = outcomeOf(response, reason, chat.turn)
  const isStreaming = chat.messages.some(({ status }) => status === 'streaming')
  const id = `nothing-${response.id}`
  const messages = chat.messages
    .filter((message) => message.id !== id)
    .map((message): Message =>
      message.status === 'streaming' ? { ...message, ...outcome } : markAccepted(message),
    )
  // A turn that ended before its first text still shows why.
  const placeholder: readonly Message[] =
    isStreaming || reason === null ? [] : [{ id, role: 'assistant', text: '', ...outcome }]
  return {
    ...chat,
    messages: [...messages, ...placeholder],
    turn: null,
    window: windowOf(response, chat.window),
  }
}

type Outcome = Pick<Message, 'status' | 'incompleteReason' | 'failure' | 'stoppedInMs'>

function outcomeOf(
  response: ResponseResource,
  reason: IncompleteReason | null,
  turn: Turn | null,
): Outcome {
  if (reason === null) return { status: 'completed' }
  const failure = response.error ?? turn?.failure ?? null
  const stoppedInMs = response.incomplete_details?.stopped_in_ms
  return {
    status: 'incomplete',
    incompleteReason: reason,
    ...(failure && { failure }),
    ...(stoppedInMs !== undefined && { stoppedInMs }),
  }
}
