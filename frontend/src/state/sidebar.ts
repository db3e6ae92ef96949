import type { Conversation } from '../wire/resource'
import { isLocal, type ChatId, type Entry, type Sidebar } from './state'

export function entryOf(conversation: Conversation): Entry {
  return { id: conversation.id, title: conversation.metadata?.title ?? '' }
}

export function listed(
  sidebar: Sidebar,
  conversations: readonly Conversation[],
  hasMore: boolean,
  further: boolean,
): Sidebar {
  const entries = conversations.map(entryOf)
  const before = further ? sidebar.entries : sidebar.entries.filter(({ id }) => isLocal(id))
  const present = new Set(before.map(({ id }) => id))
  return {
    status: 'ready',
    hasMore,
    entries: [...before, ...entries.filter(({ id }) => !present.has(id))],
  }
}

export function added(sidebar: Sidebar, entry: Entry): Sidebar {
  if (sidebar.entries.some(({ id }) => id === entry.id)) return sidebar
  return { ...sidebar, entries: [entry, ...sidebar.entries] }
}

export function renamed(sidebar: Sidebar, from: ChatId, to: Entry): Sidebar {
  return { ...sidebar, entries: sidebar.entries.map((entry) => (entry.id === from ? to : entry)) }
}

/** The chat that was spoken in last comes first. */
export function raised(sidebar: Sidebar, chat: ChatId): Sidebar {
  const entry = sidebar.entries.find(({ id }) => id === chat)
  if (entry === undefined || sidebar.entries[0] === entry) return sidebar
  return { ...sidebar, entries: [entry, ...sidebar.entries.filter((one) => one !== entry)] }
}
