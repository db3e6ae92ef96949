import { isDelta, type Delta, type ServerEvent } from './events'

type Deliver = (chat: string, event: ServerEvent) => void

const FLUSH_MS = 50

/**
 * Joins the deltas of one chat that arrive within 50 ms, so that the page is drawn at most
 * twenty times a second however fast the model is. The order within a chat is kept.
 */
export class DeltaBuffer {
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
    const pending = this.#pending.get(chat)
    if (pending !== undefined && pending.item_id !== event.item_id) this.flush(chat)
    const delta = pending?.item_id === event.item_id ? pending.delta + event.delta : event.delta
    this.#pending.set(chat, { ...event, delta })
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
