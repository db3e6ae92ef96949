import { isDelta, type Delta, type ServerEvent } from './events'

type Deliver = (chat: string, event: ServerEvent) => void

const FLUSH_MS = 50

/**
 * Joins the deltas of one chat that arrive within 50 ms, so that the page is drawn at most
 * twenty times a second however fast the model is. Order within a chat is kept.
 */
export class Deltas {
  readonly #deliver: Deliver
  readonly #pending = new Map<string, Delta>()
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(deliver: Deliver) {
    this.#deliver = deliver
  }

  push(chat: string, event: ServerEvent): void {
    if (!isDelta(event)) {
      this.flush(chat)
      this.#deliver(chat, event)
      return
    }
    const earlier = this.#pending.get(chat)
    if (earlier !== undefined && earlier.item_id !== event.item_id) this.flush(chat)
    const joined = earlier?.item_id === event.item_id ? earlier.delta + event.delta : event.delta
    this.#pending.set(chat, { ...event, delta: joined })
    this.#timer ??= setTimeout(() => this.#flushAll(), FLUSH_MS)
  }

  flush(chat: string): void {
    const event = this.#pending.get(chat)
    if (event === undefined) return
    this.#pending.delete(chat)
    this.#deliver(chat, event)
  }

  #flushAll(): void {
    this.#timer = undefined
    for (const chat of [...this.#pending.keys()]) this.flush(chat)
  }
}
