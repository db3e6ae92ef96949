import { endsTurn, type ServerEvent } from './event'
import { Line, type LineSettings } from './line'

export interface SwitchboardListener {
  opened(): void
  lost(refused: boolean): void
  received(chat: string, event: ServerEvent): void
  /** The connection went away under a turn; the turn itself goes on at the server. */
  turnLost(chat: string): void
}

interface Call {
  readonly chat: string
  created: boolean
}

const PATIENCE_MS = 6_000
const IDLE_MS = 30_000

/**
 * Gives every running turn a line of its own, because a socket carries one response at a time:
 * a question in one chat does not wait for a long answer in another. The first line lasts as
 * long as the session, further ones until they have been idle for a while.
 */
export class Switchboard {
  readonly #url: string
  readonly #listener: SwitchboardListener
  readonly #connect: LineSettings['connect']
  readonly #calls = new Map<Line, Call>()
  readonly #extra = new Map<Line, ReturnType<typeof setTimeout> | undefined>()
  readonly #first: Line

  constructor(url: string, listener: SwitchboardListener, connect?: LineSettings['connect']) {
    this.#url = url
    this.#listener = listener
    this.#connect = connect
    this.#first = this.#line(true)
  }

  get open(): boolean {
    return this.#first.open
  }

  /** Starts a turn; false if the server could not be reached. */
  async create(chat: string, input: string): Promise<boolean> {
    const line = this.#free()
    const call = { chat, created: false }
    this.#calls.set(line, call)
    // A conversation that outgrows the model goes on without its oldest turns.
    const event = { type: 'response.create', conversation: chat, input, truncation: 'auto' }
    const sent = (await line.ready(PATIENCE_MS)) && line.send(event)
    if (!sent) this.#hangUp(line)
    return sent
  }

  cancel(chat: string, responseId: string): void {
    for (const [line, call] of this.#calls) {
      if (call.chat === chat) line.send({ type: 'response.cancel', response_id: responseId })
    }
  }

  hurry(): void {
    this.#first.hurry()
  }

  close(): void {
    for (const line of [this.#first, ...this.#extra.keys()]) line.close()
    for (const timer of this.#extra.values()) clearTimeout(timer)
    this.#calls.clear()
    this.#extra.clear()
  }

  #free(): Line {
    const idle = [this.#first, ...this.#extra.keys()].find((line) => !this.#calls.has(line))
    const line = idle ?? this.#line(false)
    if (line !== this.#first) {
      clearTimeout(this.#extra.get(line))
      this.#extra.set(line, undefined)
    }
    return line
  }

  #line(lasting: boolean): Line {
    const settings = { url: this.#url, lasting }
    return new Line(this.#connect ? { ...settings, connect: this.#connect } : settings, {
      opened: (line) => {
        if (line === this.#first) this.#listener.opened()
      },
      lost: (line, refused) => this.#lost(line, refused),
      received: (line, event) => this.#received(line, event),
    })
  }

  #received(line: Line, event: ServerEvent): void {
    const call = this.#calls.get(line)
    if (call === undefined) return
    if (event.type === 'response.created') call.created = true
    // Before the turn began an error answers its create; later, a cancel that came too late.
    const refused = event.type === 'error' && !call.created
    if (refused || endsTurn(event)) this.#hangUp(line)
    this.#listener.received(call.chat, event)
  }

  #lost(line: Line, refused: boolean): void {
    // While the line was still opening, `create` is waiting for it and tells the chat itself.
    const call = refused ? undefined : this.#calls.get(line)
    if (!refused) this.#calls.delete(line)
    this.#extra.delete(line)
    if (call !== undefined) this.#listener.turnLost(call.chat)
    if (line === this.#first) this.#listener.lost(refused)
  }

  #hangUp(line: Line): void {
    this.#calls.delete(line)
    if (!this.#extra.has(line)) return
    const timer = setTimeout(() => {
      this.#extra.delete(line)
      line.close()
    }, IDLE_MS)
    this.#extra.set(line, timer)
  }
}
