import type { Item } from '../api/resources'
import type { ChatEvent } from './event'
import { merge } from './merge'
import type { Chat, Message, Turn } from './state'
import { accepted, received, unsent, waiting } from './turn'

/** One chat's part of the reducer. */
export function reduceChat(chat: Chat, event: ChatEvent): Chat {
  switch (event.type) {
    case 'history.requested':
      return { ...chat, history: chat.history === 'ready' ? 'ready' : 'loading' }
    case 'history.loaded':
      return loaded(chat, event.items, event.running)
    case 'history.failed':
      if (chat.history === 'ready') return chat
      return { ...chat, history: event.missing ? 'missing' : 'failed' }
    case 'draft.changed':
      return { ...chat, draft: event.text }
    case 'message.submitted':
      return submitted(chat, event.message, event.text)
    case 'message.retried':
      return retried(chat, event.message)
    case 'message.discarded':
      return discarded(chat, event.message)
    case 'message.failed':
      return unsent(chat, event.failure)
    case 'stop.requested':
      return chat.turn === null ? chat : { ...chat, turn: { ...chat.turn, stopping: true } }
    case 'stop.failed':
      return chat.turn === null ? chat : { ...chat, turn: { ...chat.turn, stopping: false } }
    case 'turn.lost':
      return chat.turn === null ? chat : { ...chat, turn: { ...chat.turn, phase: 'recovering' } }
    case 'turn.resumed':
      return resumed(chat)
    default:
      return received(chat, event)
  }
}

function submitted(chat: Chat, id: string, text: string): Chat {
  if (chat.turn !== null) return chat
  const message: Message = { id, role: 'user', text, status: 'sending' }
  return {
    ...chat,
    messages: [...chat.messages, message],
    turn: waiting,
    draft: '',
    unanswered: false,
  }
}

/** The question goes to the end: what was said meanwhile came before it. */
function retried(chat: Chat, id: string): Chat {
  const message = chat.messages.find((one) => one.id === id)
  if (message?.status !== 'unsent' || chat.turn !== null) return chat
  const { failure: _, ...again } = message
  const others = chat.messages.filter((one) => one.id !== id)
  return { ...chat, messages: [...others, { ...again, status: 'sending' }], turn: waiting }
}

/** Back into the composer, unless something else is being written there. */
function discarded(chat: Chat, id: string): Chat {
  const message = chat.messages.find((one) => one.id === id)
  if (message?.status !== 'unsent') return chat
  const draft = chat.draft.trim() === '' ? message.text : chat.draft
  return { ...chat, draft, messages: chat.messages.filter((one) => one.id !== id) }
}

function loaded(chat: Chat, items: readonly Item[], running: string | null): Chat {
  const next: Chat = { ...chat, history: 'ready', messages: merge(chat.messages, items) }
  if (chat.turn !== null && chat.turn.phase !== 'recovering') return next
  if (chat.turn === null && running === null) return next
  const lost = next.messages.at(-1)?.status === 'sending'
  const settled = lost ? unsent(next, { code: 'connection_lost', message: '' }) : next
  if (running !== null) return { ...settled, turn: taken(chat.turn, running) }
  return lost ? settled : over(settled)
}

function taken(turn: Turn | null, running: string): Turn {
  if (turn?.responseId === running) return turn
  return { ...waiting, phase: 'recovering', responseId: running }
}

/** Nothing runs any more. What was read stays, also if the server has not kept it. */
function over(chat: Chat): Chat {
  const messages = chat.messages.map((message): Message =>
    message.status === 'streaming'
      ? { ...message, status: 'incomplete', shortened: 'unknown' }
      : accepted(message),
  )
  return { ...chat, messages, turn: null, unanswered: messages.at(-1)?.role === 'user' }
}

function resumed(chat: Chat): Chat {
  if (chat.turn?.phase !== 'recovering') return chat
  const begun = chat.messages.at(-1)?.status === 'streaming'
  return { ...chat, turn: { ...chat.turn, phase: begun ? 'streaming' : 'waiting' } }
}
