import { creation, resumption, type Call, type Question } from './active-turn'
import { endsTurn, type ErrorEvent, type ServerEvent } from './events'
import { Line, type LineSettings, type Loss } from './reconnecting-socket'

export interface SwitchboardListener {
  opened(): void
  /** No line is up. `refused`: the handshake may have been turned down. */
  lost(refused: boolean): void
  received(chat: string, event: ServerEvent): void
  /** The line went away under a turn; it comes back and goes on behind the last event. */
  turnLost(chat: string): void
  turnResumed(chat: string): void
  /** A turn that can not be followed: only what the server has kept tells how it went on. */
  turnGone(chat: string): void
}

const PATIENCE_MS = 6_000
const IDLE_MS = 30_000
/** A line that says nothing for so long under a turn may be dead without knowing. */
const SILENCE_MS = 15_000

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
    this.#first = this.#line()
    this.#first.hurry()
  }

  /** Starts a turn; false if the server could not be reached. */
  async create(chat: string, question: Question): Promise<boolean> {
    const line = this.#free()
    const call: Call = { chat, responseId: null, last: -1, sent: false, resuming: false }
    this.#calls.set(line, call)
    const ready = await line.ready(PATIENCE_MS)
    call.sent = ready && line.send(creation(chat, question))
    if (call.sent) this.#listen(line, call)
    else this.#hangUp(line, call)
    return call.sent
  }

  /** Takes up a turn that runs at the server, from its first event. */
  follow(chat: string, responseId: string): void {
    if (this.follows(chat)) return
    const line = this.#further()
    this.#calls.set(line, { chat, responseId, last: -1, sent: true, resuming: false })
    line.hurry()
  }

  follows(chat: string): boolean {
    return [...this.#calls.values()].some((call) => call.chat === chat)
  }

  /** False if no line is up that could carry it. */
  cancel(chat: string, responseId: string): boolean {
    const [line] = [...this.#calls].find(([, call]) => call.chat === chat) ?? []
    return line?.send({ type: 'response.cancel', response_id: responseId }) ?? false
  }

  /** Somebody is about to say something. */
  wake(): void {
    this.#first.wake()
  }

  hurry(): void {
    for (const line of this.#lines) line.hurry()
  }

  close(): void {
    for (const line of this.#lines) line.close()
    for (const timer of this.#extra.values()) clearTimeout(timer)
    for (const call of this.#calls.values()) clearTimeout(call.silence)
    this.#calls.clear()
    this.#extra.clear()
  }

  get #lines(): readonly Line[] {
    return [this.#first, ...this.#extra.keys()]
  }

  #free(): Line {
    const idle = this.#lines.find((line) => !this.#calls.has(line))
    if (idle === undefined) return this.#further()
    if (idle !== this.#first) {
      clearTimeout(this.#extra.get(idle))
      this.#extra.set(idle, undefined)
    }
    return idle
  }

  #further(): Line {
    const line = this.#line()
    this.#extra.set(line, undefined)
    return line
  }

  #line(): Line {
    const address = (line: Line) => this.#url + resumption(this.#calls.get(line))
    return new Line(this.#connect ? { address, connect: this.#connect } : { address }, {
      opened: (line) => this.#opened(line),
      lost: (line, loss) => this.#lost(line, loss),
      received: (line, event) => this.#received(line, event),
    })
  }

  #opened(line: Line): void {
    this.#listener.opened()
    const call = this.#calls.get(line)
    if (!call?.responseId) return
    call.resuming = true
    this.#listen(line, call)
    this.#listener.turnResumed(call.chat)
  }

  #received(line: Line, event: ServerEvent): void {
    const call = this.#calls.get(line)
    if (call === undefined) return
    this.#listen(line, call)
    const number = event.sequence_number
    if (number === undefined) {
      if (event.type === 'error') this.#refused(line, call, event)
      return
    }
    if (number <= call.last) return
    if (number > call.last + 1) return line.renew()
    call.last = number
    call.resuming = false
    if (event.type === 'response.created') call.responseId = event.response.id
    if (endsTurn(event)) this.#hangUp(line, call)
    if (event.type !== 'other') this.#listener.received(call.chat, event)
  }

  /** An error that belongs to no turn: it answers a create, a resumption, or a cancel too late. */
  #refused(line: Line, call: Call, event: ErrorEvent): void {
    // The server is about to close the line, and that tells the rest.
    if (event.error.code === 'websocket_connection_limit_reached') return
    if (call.responseId === null) {
      this.#hangUp(line, call)
      this.#listener.received(call.chat, event)
    } else if (call.resuming && event.status === 404) {
      this.#hangUp(line, call)
      this.#listener.turnGone(call.chat)
    } else if (call.resuming) {
      line.renew()
    }
  }

  #lost(line: Line, loss: Loss): boolean {
    const call = this.#calls.get(line)
    clearTimeout(call?.silence)
    if (call?.responseId) {
      if (loss !== 'refused') this.#listener.turnLost(call.chat)
    } else if (call?.sent) {
      // Nobody knows whether the question arrived.
      this.#calls.delete(line)
      this.#listener.turnGone(call.chat)
    }
    const back = this.#calls.has(line) || (line === this.#first && loss !== 'idle')
    if (!back) this.#forget(line)
    else if (!this.#lines.some(({ open }) => open)) this.#listener.lost(loss === 'refused')
    return back
  }

  #listen(line: Line, call: Call): void {
    clearTimeout(call.silence)
    call.silence = setTimeout(() => line.renew(), SILENCE_MS)
  }

  #hangUp(line: Line, call: Call): void {
    clearTimeout(call.silence)
    this.#calls.delete(line)
    if (!this.#extra.has(line)) return
    const timer = setTimeout(() => {
      this.#forget(line)
      line.close()
    }, IDLE_MS)
    this.#extra.set(line, timer)
  }

  #forget(line: Line): void {
    clearTimeout(this.#extra.get(line))
    this.#extra.delete(line)
  }
}
