import { isLocal, NEW, type ChatId } from '../state/state'

const CHAT = /^\/c\/(conv_[A-Za-z0-9_-]{1,80})\/?$/

export function chatAt(path: string): ChatId {
  return CHAT.exec(path)?.[1] ?? NEW
}

/** A chat without a conversation has no address yet. */
export function pathOf(chat: ChatId): string {
  return isLocal(chat) ? '/' : `/c/${chat}`
}
