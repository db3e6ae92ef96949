import type { Conversation, User } from '../api/resources'
import { reduceChat } from './chat'
import { reduceEntry, unknownDoorway } from './sign-in'
import type { ChatEvent, PageEvent } from './event'
import { added, found, listed, named, raised } from './sidebar'
import {
  chatOf,
  emptyChat,
  initial,
  NEW,
  type Announcement,
  type ChatId,
  type State,
} from './state'

/** All of the page's state changes here, and only here. */
export function reduce(state: State, event: PageEvent): State {
  switch (event.type) {
    case 'session.opened':
      return opened(state, event.user, event.drafts)
    case 'session.closed':
      // Kept until somebody logs in: after an expired session nothing is lost for the same user.
      return { ...unfollowed(state), session: 'out', connection: 'connecting', announced: null }
    case 'entry.offered':
    case 'entry.linked':
    case 'entry.refused':
    case 'entry.chosen':
    case 'entry.reset':
    case 'entry.declined':
      return { ...state, entry: reduceEntry(state.entry, event) }
    case 'connection.opened':
      return { ...state, connection: 'open' }
    case 'connection.lost':
      return { ...state, connection: 'lost' }
    case 'sidebar.requested':
      return { ...state, sidebar: { ...state.sidebar, status: 'loading' } }
    case 'sidebar.loaded':
      return {
        ...state,
        sidebar: listed(state.sidebar, event.conversations, event.hasMore, event.further),
      }
    case 'sidebar.failed':
      return { ...state, sidebar: { ...state.sidebar, status: 'failed' } }
    case 'chat.selected':
      return { ...state, selected: event.chat, announced: null }
    case 'chat.begun':
      return begun(state, event.chat, event.title)
    case 'chat.created':
      return created(state, event.chat, event.conversation)
    case 'chat.found':
      return { ...state, sidebar: found(state.sidebar, event.conversation) }
    case 'chat':
      return inChat(state, event.chat, event.event)
  }
}

function opened(state: State, user: User, drafts: Record<ChatId, string>): State {
  // A session of an earlier visit has used nothing of what the address brought.
  const entry = state.session === 'checking' ? { ...state.entry, remark: null } : unknownDoorway
  if (state.user?.id === user.id) return { ...state, session: 'in', user, entry }
  const chats = Object.fromEntries(
    Object.entries(drafts).map(([id, draft]) => [id, { ...chatOf(initial, id), draft }]),
  )
  return { ...initial, session: 'in', user, entry, chats, selected: state.selected }
}

/** The lines go with the session; turns go on at the server. */
function unfollowed(state: State): State {
  const chats = Object.entries(state.chats).map(([id, chat]) => [
    id,
    reduceChat(chat, { type: 'turn.lost' }),
  ])
  return { ...state, chats: Object.fromEntries(chats) }
}

/** The new chat gets a place of its own in the list, and the next new chat is empty again. */
function begun(state: State, id: ChatId, title: string): State {
  return {
    ...state,
    selected: state.selected === NEW ? id : state.selected,
    sidebar: added(state.sidebar, { id, title }),
    chats: {
      ...state.chats,
      [id]: { ...emptyChat, history: 'ready' },
      [NEW]: chatOf(initial, NEW),
    },
  }
}

function created(state: State, from: ChatId, conversation: Conversation): State {
  const { [from]: chat, ...chats } = state.chats
  if (chat === undefined) return state
  return {
    ...state,
    selected: state.selected === from ? conversation.id : state.selected,
    sidebar: named(state.sidebar, from, conversation),
    chats: { ...chats, [conversation.id]: chat },
    announced:
      state.announced?.chat === from
        ? { ...state.announced, chat: conversation.id }
        : state.announced,
  }
}

function inChat(state: State, id: ChatId, event: ChatEvent): State {
  const before = chatOf(state, id)
  const after = reduceChat(before, event)
  if (after === before) return state
  const speaking = event.type === 'message.submitted' || event.type === 'message.retried'
  const what = announcement(event)
  return {
    ...state,
    chats: { ...state.chats, [id]: after },
    sidebar: speaking ? raised(state.sidebar, id) : state.sidebar,
    announced: what === null ? state.announced : { chat: id, what },
  }
}

function announcement(event: ChatEvent): Announcement | null {
  switch (event.type) {
    case 'response.created':
      return 'started'
    case 'response.completed':
      return 'finished'
    case 'response.incomplete':
      return event.response.incomplete_details?.reason === 'cancelled' ? 'stopped' : 'finished'
    case 'response.failed':
    case 'message.failed':
      return 'failed'
    case 'error':
      return event.sequence_number === undefined ? 'failed' : null
    default:
      return null
  }
}
