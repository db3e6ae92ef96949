import type { User } from '../api/resources'
import { unknownDoorway, type Doorway } from './sign-in'

/** A conversation's id, or `local_…` until the server has made one. */
export type ChatId = string

/** The chat that has no message yet. */
export const NEW: ChatId = 'new'

export interface Failure {
  readonly code: string
  readonly message: string
}

/** Why an answer is shorter than the model meant it. */
export type Shortened = 'stopped' | 'length' | 'failed' | 'unknown'

export type MessageStatus = 'sending' | 'unsent' | 'streaming' | 'completed' | 'incomplete'

/** What is not said aloud: the model's reasoning, and a function it calls. */
export type Aside = 'thought' | 'call'

export interface Message {
  /** The item's id, or the page's own until the server's list has been read. */
  readonly id: string
  readonly role: 'user' | 'assistant'
  readonly aside?: Aside
  /** Of the function that is called; `text` is then its arguments. */
  readonly name?: string
  readonly text: string
  readonly status: MessageStatus
  readonly shortened?: Shortened
  readonly failure?: Failure
  /** How long it took the server to let go of the model. */
  readonly stoppedInMs?: number
}

/** `recovering`: the turn runs at the server, and nothing is heard of it at the moment. */
export type TurnPhase = 'waiting' | 'streaming' | 'recovering'

export interface Turn {
  readonly phase: TurnPhase
  readonly responseId: string | null
  readonly stopping: boolean
  readonly failure: Failure | null
}

/** How much of the conversation the model was shown, and how full that makes it. */
export interface Window {
  readonly leftOut: number
  readonly usedTokens: number | null
  readonly contextTokens: number | null
}

export type HistoryStatus = 'absent' | 'loading' | 'ready' | 'failed' | 'missing'

export interface Chat {
  readonly history: HistoryStatus
  readonly messages: readonly Message[]
  readonly turn: Turn | null
  readonly draft: string
  /** The answer never came, although the question is stored. */
  readonly unanswered: boolean
  /** Null until an answer has told. */
  readonly window: Window | null
}

export interface Entry {
  readonly id: ChatId
  readonly title: string
}

export interface Sidebar {
  readonly status: 'absent' | 'loading' | 'ready' | 'failed'
  readonly entries: readonly Entry[]
  readonly hasMore: boolean
}

export type Announcement = 'started' | 'finished' | 'stopped' | 'failed'

export interface State {
  readonly session: 'checking' | 'out' | 'in'
  readonly user: User | null
  readonly entry: Doorway
  readonly connection: 'connecting' | 'open' | 'lost'
  readonly sidebar: Sidebar
  readonly selected: ChatId
  readonly chats: Readonly<Record<ChatId, Chat>>
  /** What the status line says, and about which chat. */
  readonly announced: { readonly chat: ChatId; readonly what: Announcement } | null
}

export const emptyChat: Chat = {
  history: 'absent',
  messages: [],
  turn: null,
  draft: '',
  unanswered: false,
  window: null,
}

export const initial: State = {
  session: 'checking',
  user: null,
  entry: unknownDoorway,
  connection: 'connecting',
  sidebar: { status: 'absent', entries: [], hasMore: false },
  selected: NEW,
  chats: {},
  announced: null,
}

export function isLocal(chat: ChatId): boolean {
  return chat === NEW || chat.startsWith('local_')
}

export function chatOf(state: State, id: ChatId): Chat {
  return state.chats[id] ?? (isLocal(id) ? { ...emptyChat, history: 'ready' } : emptyChat)
}
