import { ApiError } from '../wire/api'
import { backoff } from '../wire/backoff'
import type { Conversation, Item, List } from '../wire/resource'
import { isLocal, type ChatId } from '../state/state'
import type { Store } from './store.svelte'

export interface Memory {
  conversations(after: string | null): Promise<List<Conversation>>
  conversation(id: string): Promise<Conversation>
  allItems(id: string): Promise<readonly Item[]>
}

const ATTEMPTS = 10
const BETWEEN_FACTOR = 2

/** Brings what the server remembers: the list of conversations, and the items of each. */
export class History {
  readonly #store: Store
  readonly #memory: Memory
  readonly #expired: () => void
  readonly #recovering = new Set<ChatId>()

  constructor(store: Store, memory: Memory, expired: () => void) {
    this.#store = store
    this.#memory = memory
    this.#expired = expired
  }

  async list(further = false): Promise<void> {
    const { sidebar } = this.#store.state
    if (sidebar.status === 'loading') return
    const after = further ? (sidebar.entries.findLast(({ id }) => !isLocal(id))?.id ?? null) : null
    this.#store.dispatch({ type: 'sidebar.requested' })
    try {
      const { data, has_more: hasMore } = await this.#memory.conversations(after)
      this.#store.dispatch({ type: 'sidebar.loaded', conversations: data, hasMore, further })
    } catch (error) {
      this.#store.dispatch({ type: 'sidebar.failed' })
      this.#report(error)
    }
  }

  async open(chat: ChatId): Promise<void> {
    const { history } = this.#store.chat(chat)
    if (isLocal(chat) || history === 'ready' || history === 'loading') return
    this.#store.inChat(chat, { type: 'history.requested' })
    await this.#load(chat)
    if (this.#store.chat(chat).turn?.phase === 'recovering') await this.recover(chat)
  }

  /** The list is longer than its first page: a chat that was opened by address gets its title too. */
  async find(chat: ChatId): Promise<void> {
    if (isLocal(chat)) return
    try {
      this.#store.dispatch({
        type: 'chat.found',
        conversation: await this.#memory.conversation(chat),
      })
    } catch (error) {
      this.#report(error)
    }
  }

  /**
   * After a lost connection: reads the items until the answer is among them. The place where
   * resuming by sequence number (`turn.responseId`, `turn.sequence`) will come in.
   */
  async recover(chat: ChatId): Promise<void> {
    if (this.#recovering.has(chat)) return
    this.#recovering.add(chat)
    try {
      for (let attempt = 0; attempt < ATTEMPTS && this.#isRecovering(chat); attempt++) {
        if (attempt > 0) await pause(BETWEEN_FACTOR * backoff(attempt))
        if (this.#isRecovering(chat)) await this.#load(chat)
      }
    } finally {
      this.#recovering.delete(chat)
    }
    const { state } = this.#store
    if (state.connection === 'open') this.#store.inChat(chat, { type: 'turn.abandoned' })
  }

  async #load(chat: ChatId): Promise<void> {
    try {
      this.#store.inChat(chat, { type: 'history.loaded', items: await this.#memory.allItems(chat) })
    } catch (error) {
      const missing = error instanceof ApiError && error.status === 404
      this.#store.inChat(chat, { type: 'history.failed', missing })
      this.#report(error)
    }
  }

  #isRecovering(chat: ChatId): boolean {
    return this.#store.chat(chat).turn?.phase === 'recovering'
  }

  #report(error: unknown): void {
    if (!(error instanceof ApiError)) throw error
    if (error.status === 401) this.#expired()
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
