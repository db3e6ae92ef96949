import { ApiError } from '../api/http'
import { backoff } from '../api/backoff'
import type { Conversation, Item, List } from '../api/resources'
import { isLocal, type ChatId } from '../state/state'
import type { Store } from './store.svelte'

export interface Memory {
  conversations(after: string | null): Promise<List<Conversation>>
  conversation(id: string): Promise<Conversation>
  allItems(id: string): Promise<readonly Item[]>
}

export interface Listener {
  /** An answer is being written that nobody follows here. */
  running(chat: ChatId, responseId: string): void
  /** The session is over. */
  expired(): void
}

/** Answers of other chats that are followed from the start; the rest when their chat is opened. */
const FOLLOWED_AT_ONCE = 4
/** The title comes in two steps: the first words at once, then what the model makes of them. */
const TITLED_AFTER_MS = [500, 2_000, 6_000, 15_000]

/** Brings what the server remembers: the list of conversations, and the items of each. */
export class History {
  readonly #store: Store
  readonly #memory: Memory
  readonly #listener: Listener
  readonly #recovering = new Set<ChatId>()
  readonly #gone = new Set<string>()

  constructor(store: Store, memory: Memory, listener: Listener) {
    this.#store = store
    this.#memory = memory
    this.#listener = listener
  }

  async list(further = false): Promise<void> {
    const { sidebar } = this.#store.state
    if (sidebar.status === 'loading') return
    const after = further ? (sidebar.entries.findLast(({ id }) => !isLocal(id))?.id ?? null) : null
    this.#store.dispatch({ type: 'sidebar.requested' })
    try {
      const { data, has_more: hasMore } = await this.#memory.conversations(after)
      this.#store.dispatch({ type: 'sidebar.loaded', conversations: data, hasMore, further })
      const running = data.filter((one) => one.active_responses?.length)
      for (const { id } of running.slice(0, FOLLOWED_AT_ONCE)) void this.open(id)
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

  /** The server titles a conversation after its first answer. */
  async titled(chat: ChatId): Promise<void> {
    let words: string | undefined
    for (const wait of TITLED_AFTER_MS) {
      await pause(wait)
      await this.find(chat)
      const title = this.#store.state.sidebar.entries.find(({ id }) => id === chat)?.title
      if (words !== undefined && title !== words) return
      words = title
    }
  }

  /** What became of a turn that can not be followed? Asked until the server answers. */
  async recover(chat: ChatId): Promise<void> {
    if (this.#recovering.has(chat)) return
    this.#recovering.add(chat)
    for (let attempt = 0; this.#isRecovering(chat) && !(await this.#load(chat)); attempt++)
      await pause(backoff(attempt))
    this.#recovering.delete(chat)
  }

  /** The server does not know this response any more, or not the events it was made of. */
  forget(responseId: string): void {
    this.#gone.add(responseId)
  }

  /** False if it is worth another attempt. */
  async #load(chat: ChatId): Promise<boolean> {
    try {
      const { items, running } = await this.#read(chat)
      this.#store.inChat(chat, { type: 'history.loaded', items, running })
      if (running !== null) this.#listener.running(chat, running)
      return true
    } catch (error) {
      const missing = error instanceof ApiError && error.status === 404
      this.#store.inChat(chat, { type: 'history.failed', missing })
      this.#report(error)
      return error instanceof ApiError && error.status >= 400 && error.status < 429
    }
  }

  async #read(chat: ChatId): Promise<{ items: readonly Item[]; running: string | null }> {
    const [conversation, items] = await Promise.all([
      this.#memory.conversation(chat),
      this.#memory.allItems(chat),
    ])
    const active = conversation.active_responses ?? []
    const running = active.findLast((id) => !this.#gone.has(id)) ?? null
    // The answer may have come to its end between the two.
    const again = running === null && items.at(-1)?.role === 'user'
    return { items: again ? await this.#memory.allItems(chat) : items, running }
  }

  #isRecovering(chat: ChatId): boolean {
    return this.#store.chat(chat).turn?.phase === 'recovering'
  }

  #report(error: unknown): void {
    if (!(error instanceof ApiError)) throw error
    if (error.status === 401) this.#listener.expired()
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
