import { isLocal, NEW, type ChatId } from '../state/state'

const CHAT_PATH = /^\/c\/(conv_[A-Za-z0-9_-]{1,80})\/?$/

export function chatFromPath(path: string): ChatId {
  return CHAT_PATH.exec(path)?.[1] ?? NEW
}

/** A chat without a conversation has no path of its own. */
export function pathOf(chat: ChatId): string {
  return isLocal(chat) ? '/' : `/c/${chat}`
}
