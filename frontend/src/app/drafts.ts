import type { ChatId, State } from '../state/state'
import { isLocal, NEW } from '../state/state'
import type { SafeStorage } from '../ui/storage'

type Drafts = Record<ChatId, string>

/** Stores unsent text under one key for each user, so that it survives a reload and a lost session. */
export class DraftStorage {
  readonly #storage: SafeStorage
  #saved = ''

  constructor(storage: SafeStorage) {
    this.#storage = storage
  }

  load(user: string): Drafts {
    try {
      const drafts: unknown = JSON.parse(this.#storage.read(this.#key(user)) ?? '{}')
      return isDrafts(drafts) ? drafts : {}
    } catch {
      return {}
    }
  }

  save(user: string, state: State): void {
    const drafts = Object.entries(state.chats)
      .filter(([id, { draft }]) => draft !== '' && (id === NEW || !isLocal(id)))
      .map(([id, { draft }]) => [id, draft])
    const text = JSON.stringify(Object.fromEntries(drafts))
    if (text === this.#saved) return
    this.#saved = text
    this.#storage.write(this.#key(user), drafts.length > 0 ? text : null)
  }

  clear(user: string): void {
    this.#saved = ''
    this.#storage.write(this.#key(user), null)
  }

  #key(user: string): string {
    return `parley.drafts.${user}`
  }
}

function isDrafts(value: unknown): value is Drafts {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((draft) => typeof draft === 'string')
  )
}
