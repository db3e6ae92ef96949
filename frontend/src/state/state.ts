import type { User } from '../api/resources'
import { initialSignIn, type SignInState } from './sign-in'

/** A conversation's id, or `local_…` until the server has created the conversation. */
export type ChatId = string

/** The chat without a message. */
export const NEW: ChatId = 'new'

export interface Failure {
  readonly code: string
  readonly message: string
}

/** Why an answer ended early. */
export type IncompleteReason = 'stopped' | 'length' | 'failed' | 'unknown'

export type MessageStatus = 'sending' | 'unsent' | 'streaming' | 'completed' | 'incomplete'

/** An output of the model that is not part of the answer's text. */
export type StepKind = 'reasoning' | 'function_call'

export interface Message {
  /** The item's id; a generated one until the stored items have been loaded. */
  readonly id: string
  readonly role: 'user' | 'assistant'
  readonly step?: StepKind
  /** The name of the called function; `text` holds its arguments. */
  readonly name?: string
  readonly text: string
  readonly status: MessageStatus
  readonly incompleteReason?: IncompleteReason
  readonly failure?: Failure
  /** How long the server took to free the model. */
  readonly stoppedInMs?: number
}

/** `recovering`: the turn runs on the server, but the page does not receive its events. */
type TurnPhase = 'waiting' | 'streaming' | 'recovering'

export interface Turn {
  readonly phase: TurnPhase
  readonly responseId: string | null
  readonly stopping: boolean
  /** True if the last attempt to stop the answer failed. */
  readonly stopFailed: boolean
  readonly failure: Failure | null
}

/** How much of the conversation fits into the model's context, and how full the context is. */
export interface ContextWindow {
  readonly leftOut: number
  readonly usedTokens: number | null
  readonly contextTokens: number | null
}

type HistoryStatus = 'absent' | 'loading' | 'ready' | 'failed' | 'missing'

export interface Chat {
  readonly history: HistoryStatus
  readonly messages: readonly Message[]
  readonly turn: Turn | null
  readonly draft: string
  /** True if the question is stored and has no answer. */
  readonly unanswered: boolean
  /** Null until the first answer reports it. */
  readonly window: ContextWindow | null
}

export interface SidebarEntry {
  readonly id: ChatId
  readonly title: string
}

export interface Sidebar {
  readonly status: 'absent' | 'loading' | 'ready' | 'failed'
  readonly entries: readonly SidebarEntry[]
  readonly hasMore: boolean
}

export type AnnouncementKind = 'started' | 'finished' | 'stopped' | 'notStopped' | 'failed'

export interface State {
  readonly session: 'checking' | 'out' | 'in'
  readonly user: User | null
  readonly signIn: SignInState
  readonly connection: 'connecting' | 'open' | 'lost'
  readonly sidebar: Sidebar
  readonly selected: ChatId
  readonly chats: Readonly<Record<ChatId, Chat>>
  /** The latest announcement for screen readers, and its chat. */
  readonly announcement: { readonly chat: ChatId; readonly kind: AnnouncementKind } | null
}

export const emptyChat: Chat = {
  history: 'absent',
  messages: [],
  turn: null,
  draft: '',
  unanswered: false,
  window: null,
}

export const initialState: State = {
  session: 'checking',
  user: null,
  signIn: initialSignIn,
  connection: 'connecting',
  sidebar: { status: 'absent', entries: [], hasMore: false },
  selected: NEW,
  chats: {},
  announcement: null,
}

export function isLocal(chat: ChatId): boolean {
  return chat === NEW || chat.startsWith('local_')
}

export function chatOf(state: State, id: ChatId): Chat {
  return state.chats[id] ?? (isLocal(id) ? { ...emptyChat, history: 'ready' } : emptyChat)
}
