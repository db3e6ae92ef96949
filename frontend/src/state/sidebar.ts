import type { Conversation } from '../api/resources'
import { isLocal, type ChatId, type Sidebar, type SidebarEntry } from './state'

export function withConversations(
  sidebar: Sidebar,
  conversations: readonly Conversation[],
  hasMore: boolean,
  append: boolean,
): Sidebar {
  const kept = append ? sidebar.entries : sidebar.entries.filter(({ id }) => isLocal(id))
  const keptIds = new Set(kept.map(({ id }) => id))
  const added = conversations.filter(({ id }) => !keptIds.has(id))
  return {
    status: 'ready',
    hasMore,
    entries: [...kept, ...added.map((one) => entryOf(one, titleOf(sidebar, one.id) ?? ''))],
  }
}

export function addEntry(sidebar: Sidebar, entry: SidebarEntry): Sidebar {
  if (sidebar.entries.some(({ id }) => id === entry.id)) return sidebar
  return { ...sidebar, entries: [entry, ...sidebar.entries] }
}

/** Replaces the entry of `chat` by its conversation on the server. */
export function replaceEntry(sidebar: Sidebar, chat: ChatId, conversation: Conversation): Sidebar {
  const entries = sidebar.entries.map((entry) =>
    entry.id === chat ? entryOf(conversation, entry.title) : entry,
  )
  return { ...sidebar, entries }
}

export function upsertEntry(sidebar: Sidebar, conversation: Conversation): Sidebar {
  const withEntry = addEntry(sidebar, entryOf(conversation, ''))
  return replaceEntry(withEntry, conversation.id, conversation)
}

export function moveToTop(sidebar: Sidebar, chat: ChatId): Sidebar {
  const entry = sidebar.entries.find(({ id }) => id === chat)
  if (entry === undefined || sidebar.entries[0] === entry) return sidebar
  return { ...sidebar, entries: [entry, ...sidebar.entries.filter((one) => one !== entry)] }
}

/** The server generates the title after the first answer; until then the entry has `fallback`. */
function entryOf(conversation: Conversation, fallback: string): SidebarEntry {
  return { id: conversation.id, title: conversation.metadata?.title || fallback }
}

/** Returns undefined for a chat that is not listed. */
export function titleOf(sidebar: Sidebar, chat: ChatId): string | undefined {
  return sidebar.entries.find(({ id }) => id === chat)?.title
}
