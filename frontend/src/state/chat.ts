import type { Item } from '../api/resources'
import type { ChatEvent } from './event'
import { merge } from './merge'
import type { Chat, Message, Turn } from './state'
import { applyServerEvent, markAccepted, markUnsent, waitingTurn } from './turn'

/** The part of the reducer for one chat. */
export function reduceChat(chat: Chat, event: ChatEvent): Chat {
  switch (event.type) {
    case 'history.requested':
      return { ...chat, history: chat.history === 'ready' ? 'ready' : 'loading' }
    case 'history.loaded':
      return applyHistory(chat, event.items, event.running)
    case 'history.failed':
      if (chat.history === 'ready') return chat
      return { ...chat, history: event.missing ? 'missing' : 'failed' }
    case 'draft.changed':
      return { ...chat, draft: event.text }
    case 'message.submitted':
      return submitMessage(chat, event.message, event.text)
    case 'message.retried':
      return retryMessage(chat, event.message)
    case 'message.discarded':
      return discardMessage(chat, event.message)
    case 'message.failed':
      return markUnsent(chat, event.failure)
    case 'stop.requested':
      return setStopping(chat, { stopping: true, stopFailed: false })
    case 'stop.failed':
      return setStopping(chat, { stopping: false, stopFailed: true })
    case 'turn.lost':
      return chat.turn === null ? chat : { ...chat, turn: { ...chat.turn, phase: 'recovering' } }
    case 'turn.resumed':
      return resumeTurn(chat)
    default:
      return applyServerEvent(chat, event)
  }
}

function submitMessage(chat: Chat, id: string, text: string): Chat {
  if (chat.turn !== null) return chat
  const message: Message = { id, role: 'user', text, status: 'sending' }
  return {
    ...chat,
    messages: [...chat.messages, message],
    turn: waitingTurn,
    draft: '',
    unanswered: false,
  }
}

function setStopping(chat: Chat, change: Pick<Turn, 'stopping' | 'stopFailed'>): Chat {
  return chat.turn === null ? chat : { ...chat, turn: { ...chat.turn, ...change } }
}

/** Moves the question to the end: messages that arrived in the meantime precede it. */
function retryMessage(chat: Chat, id: string): Chat {
  const message = chat.messages.find((one) => one.id === id)
  if (message?.status !== 'unsent' || chat.turn !== null) return chat
  const { failure: _, ...retried } = message
  const others = chat.messages.filter((one) => one.id !== id)
  return { ...chat, messages: [...others, { ...retried, status: 'sending' }], turn: waitingTurn }
}

/** Moves the question back to the composer, unless the composer holds a draft. */
function discardMessage(chat: Chat, id: string): Chat {
  const message = chat.messages.find((one) => one.id === id)
  if (message?.status !== 'unsent') return chat
  const draft = chat.draft.trim() === '' ? message.text : chat.draft
  return { ...chat, draft, messages: chat.messages.filter((one) => one.id !== id) }
}

function applyHistory(chat: Chat, items: readonly Item[], running: string | null): Chat {
  const next: Chat = { ...chat, history: 'ready', messages: merge(chat.messages, items) }
  if (chat.turn !== null && chat.turn.phase !== 'recovering') return next
  if (chat.turn === null && running === null) return next
  const isUnsent = next.messages.at(-1)?.status === 'sending'
  const settled = isUnsent ? markUnsent(next, { code: 'connection_lost', message: '' }) : next
  if (running !== null) return { ...settled, turn: followedTurn(chat.turn, running) }
  return isUnsent ? settled : abandonTurn(settled)
}

function followedTurn(turn: Turn | null, running: string): Turn {
  if (turn?.responseId === running) return turn
  return { ...waitingTurn, phase: 'recovering', responseId: running }
}

/** Ends a turn that no longer runs. The text received stays, even if the server has not stored it. */
function abandonTurn(chat: Chat): Chat {
  const messages = chat.messages.map((message): Message =>
    message.status === 'streaming'
      ? { ...message, status: 'incomplete', incompleteReason: 'unknown' }
      : markAccepted(message),
  )
  return { ...chat, messages, turn: null, unanswered: messages.at(-1)?.role === 'user' }
}

function resumeTurn(chat: Chat): Chat {
  if (chat.turn?.phase !== 'recovering') return chat
  const isStreaming = chat.messages.at(-1)?.status === 'streaming'
  return { ...chat, turn: { ...chat.turn, phase: isStreaming ? 'streaming' : 'waiting' } }
}
