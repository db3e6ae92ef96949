import type { ServerEvent } from '../api/events'
import type { Conversation, Item, User } from '../api/resources'
import type { SignInEvent } from './sign-in'
import type { ChatId, Failure } from './state'

type SessionEvent =
  | {
      readonly type: 'session.opened'
      readonly user: User
      readonly drafts: Record<ChatId, string>
    }
  | { readonly type: 'session.closed' }

type ConnectionEvent = { readonly type: 'connection.opened' } | { readonly type: 'connection.lost' }

type SidebarEvent =
  | { readonly type: 'sidebar.requested' }
  | {
      readonly type: 'sidebar.loaded'
      readonly conversations: readonly Conversation[]
      readonly hasMore: boolean
      /** False: the conversations replace the list. */
      readonly append: boolean
    }
  | { readonly type: 'sidebar.failed' }

/** An event of one chat, reduced independently of all other chats. */
export type ChatEvent =
  | { readonly type: 'history.requested' }
  | {
      readonly type: 'history.loaded'
      readonly items: readonly Item[]
      /** The id of the response that is still running. */
      readonly running: string | null
    }
  | { readonly type: 'history.failed'; readonly missing: boolean }
  | { readonly type: 'draft.changed'; readonly text: string }
  | { readonly type: 'message.submitted'; readonly message: string; readonly text: string }
  | { readonly type: 'message.retried'; readonly message: string }
  | { readonly type: 'message.discarded'; readonly message: string }
  | { readonly type: 'message.failed'; readonly failure: Failure }
  | { readonly type: 'stop.requested' }
  | { readonly type: 'stop.failed' }
  | { readonly type: 'turn.lost' }
  | { readonly type: 'turn.resumed' }
  | ServerEvent

export type PageEvent =
  | SessionEvent
  | SignInEvent
  | ConnectionEvent
  | SidebarEvent
  | { readonly type: 'chat.selected'; readonly chat: ChatId }
  | { readonly type: 'chat.started'; readonly chat: ChatId; readonly title: string }
  | { readonly type: 'chat.created'; readonly chat: ChatId; readonly conversation: Conversation }
  | { readonly type: 'chat.loaded'; readonly conversation: Conversation }
  | { readonly type: 'chat'; readonly chat: ChatId; readonly event: ChatEvent }
