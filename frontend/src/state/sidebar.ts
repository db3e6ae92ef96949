import type { Conversation } from '../api/resources'
import { isLocal, type ChatId, type Entry, type Sidebar } from './state'

export function listed(
  sidebar: Sidebar,
  conversations: readonly Conversation[],
  hasMore: boolean,
  further: boolean,
): Sidebar {
  const before = further ? sidebar.entries : sidebar.entries.filter(({ id }) => isLocal(id))
  const present = new Set(before.map(({ id }) => id))
  const fresh = conversations.filter(({ id }) => !present.has(id))
  return {
    status: 'ready',
    hasMore,
    entries: [...before, ...fresh.map((one) => entryOf(one, titleIn(sidebar, one.id)))],
  }
}

export function added(sidebar: Sidebar, entry: Entry): Sidebar {
  if (sidebar.entries.some(({ id }) => id === entry.id)) return sidebar
  return { ...sidebar, entries: [entry, ...sidebar.entries] }
}

/** The server has made the conversation of the chat `from`. */
export function named(sidebar: Sidebar, from: ChatId, conversation: Conversation): Sidebar {
  const entries = sidebar.entries.map((entry) =>
    entry.id === from ? entryOf(conversation, entry.title) : entry,
  )
  return { ...sidebar, entries }
}

export function found(sidebar: Sidebar, conversation: Conversation): Sidebar {
  return named(added(sidebar, entryOf(conversation, '')), conversation.id, conversation)
}

/** The chat that was spoken in last comes first. */
export function raised(sidebar: Sidebar, chat: ChatId): Sidebar {
  const entry = sidebar.entries.find(({ id }) => id === chat)
  if (entry === undefined || sidebar.entries[0] === entry) return sidebar
  return { ...sidebar, entries: [entry, ...sidebar.entries.filter((one) => one !== entry)] }
}

/** The server titles a conversation after its first answer; until then the page has a title for it. */
function entryOf(conversation: Conversation, until: string): Entry {
  return { id: conversation.id, title: conversation.metadata?.title || until }
}

function titleIn(sidebar: Sidebar, id: ChatId): string {
  return sidebar.entries.find((entry) => entry.id === id)?.title ?? ''
}
