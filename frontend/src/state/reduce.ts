import type { Conversation, User } from '../api/resources'
import { reduceChat } from './chat'
import type { ChatEvent, PageEvent } from './event'
import { addEntry, moveToTop, replaceEntry, upsertEntry, withConversations } from './sidebar'
import { initialSignIn, reduceSignIn } from './sign-in'
import {
  chatOf,
  emptyChat,
  initialState,
  NEW,
  type AnnouncementKind,
  type ChatId,
  type State,
} from './state'

/** The only function that changes the page's state. */
export function reduce(state: State, event: PageEvent): State {
  switch (event.type) {
    case 'session.opened':
      return openSession(state, event.user, event.drafts)
    case 'session.closed':
      // The state stays until the next login: the same user continues after an expired session.
      return {
        ...markTurnsLost(state),
        session: 'out',
        connection: 'connecting',
        announcement: null,
      }
    case 'signIn.optionsLoaded':
    case 'signIn.linkOpened':
    case 'signIn.failed':
    case 'signIn.formSelected':
    case 'signIn.passwordReset':
    case 'signIn.linkDismissed':
      return { ...state, signIn: reduceSignIn(state.signIn, event) }
    case 'connection.opened':
      return { ...state, connection: 'open' }
    case 'connection.lost':
      return { ...state, connection: 'lost' }
    case 'sidebar.requested':
      return { ...state, sidebar: { ...state.sidebar, status: 'loading' } }
    case 'sidebar.loaded':
      return {
        ...state,
        sidebar: withConversations(state.sidebar, event.conversations, event.hasMore, event.append),
      }
    case 'sidebar.failed':
      return { ...state, sidebar: { ...state.sidebar, status: 'failed' } }
    case 'chat.selected':
      return { ...state, selected: event.chat, announcement: null }
    case 'chat.started':
      return startChat(state, event.chat, event.title)
    case 'chat.created':
      return assignConversation(state, event.chat, event.conversation)
    case 'chat.loaded':
      return { ...state, sidebar: upsertEntry(state.sidebar, event.conversation) }
    case 'chat':
      return updateChat(state, event.chat, event.event)
  }
}

function openSession(state: State, user: User, drafts: Record<ChatId, string>): State {
  // A session restored from an earlier visit has not used the link in the URL.
  const signIn = state.session === 'checking' ? { ...state.signIn, notice: null } : initialSignIn
  if (state.user?.id === user.id) return { ...state, session: 'in', user, signIn }
  const chats = Object.fromEntries(
    Object.entries(drafts).map(([id, draft]) => [id, { ...chatOf(initialState, id), draft }]),
  )
  return { ...initialState, session: 'in', user, signIn, chats, selected: state.selected }
}

/** The sockets close with the session; the turns continue on the server. */
function markTurnsLost(state: State): State {
  const chats = Object.entries(state.chats).map(([id, chat]) => [
    id,
    reduceChat(chat, { type: 'turn.lost' }),
  ])
  return { ...state, chats: Object.fromEntries(chats) }
}

/** Adds the new chat to the list and leaves an empty new chat behind. */
function startChat(state: State, id: ChatId, title: string): State {
  return {
    ...state,
    selected: state.selected === NEW ? id : state.selected,
    sidebar: addEntry(state.sidebar, { id, title }),
    chats: {
      ...state.chats,
      [id]: { ...emptyChat, history: 'ready' },
      [NEW]: chatOf(initialState, NEW),
    },
  }
}

/** Replaces a local chat id by the id of its conversation. */
function assignConversation(state: State, local: ChatId, conversation: Conversation): State {
  const { [local]: chat, ...chats } = state.chats
  if (chat === undefined) return state
  return {
    ...state,
    selected: state.selected === local ? conversation.id : state.selected,
    sidebar: replaceEntry(state.sidebar, local, conversation),
    chats: { ...chats, [conversation.id]: chat },
    announcement:
      state.announcement?.chat === local
        ? { ...state.announcement, chat: conversation.id }
        : state.announcement,
  }
}

function updateChat(state: State, id: ChatId, event: ChatEvent): State {
  const before = chatOf(state, id)
  const after = reduceChat(before, event)
  if (after === before) return state
  const isQuestion = event.type === 'message.submitted' || event.type === 'message.retried'
  const kind = announcementOf(event)
  return {
    ...state,
    chats: { ...state.chats, [id]: after },
    sidebar: isQuestion ? moveToTop(state.sidebar, id) : state.sidebar,
    announcement: kind === null ? state.announcement : { chat: id, kind },
  }
}

function announcementOf(event: ChatEvent): AnnouncementKind | null {
  switch (event.type) {
    case 'response.created':
      return 'started'
    case 'response.completed':
      return 'finished'
    case 'response.incomplete':
      return event.response.incomplete_details?.reason === 'cancelled' ? 'stopped' : 'finished'
    case 'stop.failed':
      return 'notStopped'
    case 'response.failed':
    case 'message.failed':
      return 'failed'
    case 'error':
      return event.sequence_number === undefined ? 'failed' : null
    default:
      return null
  }
}
