import { isLocal, type ChatId, type State } from '../state/state'
import type { Shelf } from './storage'

const KEY = 'parley.unfinished'

/** The chats whose answers were under way, so that a reload knows to wait for them. */
export class UnfinishedShelf {
  readonly #shelf: Shelf
  #saved: string | null = null

  constructor(shelf: Shelf) {
    this.#shelf = shelf
  }

  load(): readonly ChatId[] {
    return (this.#shelf.read(KEY) ?? '').split(' ').filter((id) => id !== '')
  }

  save(state: State): void {
    const ids = Object.keys(state.chats).filter((id) => !isLocal(id) && state.chats[id]?.turn)
    const text = ids.join(' ') || null
    if (text === this.#saved) return
    this.#saved = text
    this.#shelf.write(KEY, text)
  }
}
