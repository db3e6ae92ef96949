import type { ChatId, State } from '../state/state'
import { isLocal, NEW } from '../state/state'
import type { Shelf } from './storage'

type Drafts = Record<ChatId, string>

/** What was typed and not sent, a key for each user: a reload or a lost session loses no word. */
export class DraftShelf {
  readonly #shelf: Shelf
  #saved = ''

  constructor(shelf: Shelf) {
    this.#shelf = shelf
  }

  load(user: string): Drafts {
    try {
      const drafts: unknown = JSON.parse(this.#shelf.read(this.#key(user)) ?? '{}')
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
    this.#shelf.write(this.#key(user), drafts.length > 0 ? text : null)
  }

  forget(user: string): void {
    this.#saved = ''
    this.#shelf.write(this.#key(user), null)
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
