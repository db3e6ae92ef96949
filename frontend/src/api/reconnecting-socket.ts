import { backoff } from './backoff'
import { parseEvent, type ServerEvent } from './events'

/** How a line went down: it was never up, the server closed a silent one, or anything else. */
export type Loss = 'refused' | 'idle' | 'dropped'

export interface LineListener {
  opened(line: Line): void
  /** True: come back after a while. False: rest until somebody needs the line. */
  lost(line: Line, loss: Loss): boolean
  received(line: Line, event: ServerEvent): void
}

export interface LineSettings {
  /** Asked for each time: what is to be resumed is part of it. */
  readonly address: (line: Line) => string
  readonly connect?: (url: string) => WebSocket
}

/** A line that was up for so long begins its waits anew. */
const HELD_MS = 10_000
/** The server has nothing against us: it was idle, or at the limit of its age. */
const NORMAL = 1000

/** One WebSocket as the page sees it: up or not, and coming back by itself. It begins at rest. */
export class Line {
  readonly #settings: LineSettings
  readonly #listener: LineListener
  readonly #connect: (url: string) => WebSocket
  #socket: WebSocket | null = null
  #timer: ReturnType<typeof setTimeout> | undefined
  #attempt = 0
  #openedAt = 0
  #open = false
  #closed = false
  #waiting: ((open: boolean) => void)[] = []

  constructor(settings: LineSettings, listener: LineListener) {
    this.#settings = settings
    this.#listener = listener
    this.#connect = settings.connect ?? ((url) => new WebSocket(url))
  }

  get open(): boolean {
    return this.#open
  }

  /** False if the line is not up: then nothing was sent. */
  send(event: object): boolean {
    if (!this.#open || this.#socket?.readyState !== 1) return false
    this.#socket.send(JSON.stringify(event))
    return true
  }

  /** Whether the line is up within `patience` milliseconds. */
  ready(patience: number): Promise<boolean> {
    if (this.#open) return Promise.resolve(true)
    if (this.#closed) return Promise.resolve(false)
    this.hurry()
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), patience)
      this.#waiting.push((open) => {
        clearTimeout(timer)
        resolve(open)
      })
    })
  }

  /** Up now, instead of when it is needed or after the rest of a wait. */
  hurry(): void {
    if (this.#closed || this.#socket !== null) return
    this.#attempt = 0
    this.#dial()
  }

  /** Up again if it is at rest; a wait after a loss goes on. */
  wake(): void {
    if (this.#timer === undefined) this.hurry()
  }

  /** What is heard on it makes no sense, or nothing is: as if it had been lost. */
  renew(): void {
    const socket = this.#socket
    if (socket === null) return
    this.#lost(socket, 0)
    socket.close()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#socket?.close(NORMAL)
    this.#settle(false)
  }

  #dial(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const socket = this.#connect(this.#settings.address(this))
    this.#socket = socket
    socket.onopen = () => this.#opened(socket)
    socket.onmessage = ({ data }) => this.#heard(socket, data)
    // An error is always followed by close, and says nothing that close does not.
    socket.onclose = ({ code }) => this.#lost(socket, code)
  }

  #opened(socket: WebSocket): void {
    if (this.#closed || socket !== this.#socket) return socket.close(NORMAL)
    this.#open = true
    this.#openedAt = Date.now()
    this.#settle(true)
    this.#listener.opened(this)
  }

  #heard(socket: WebSocket, frame: unknown): void {
    const event = this.#closed || socket !== this.#socket ? null : parseEvent(frame)
    if (event !== null) this.#listener.received(this, event)
  }

  #lost(socket: WebSocket, code: number): void {
    if (this.#closed || socket !== this.#socket) return
    const loss = !this.#open ? 'refused' : code === NORMAL ? 'idle' : 'dropped'
    if (this.#open && Date.now() - this.#openedAt > HELD_MS) this.#attempt = 0
    this.#open = false
    this.#socket = null
    if (!this.#listener.lost(this, loss)) return this.#settle(false)
    // Whoever heard of the loss may have closed the line, or dialled already.
    if (this.#closed || this.#socket !== null) return
    this.#timer = setTimeout(() => this.#dial(), backoff(this.#attempt++))
  }

  #settle(open: boolean): void {
    for (const resolve of this.#waiting.splice(0)) resolve(open)
  }
}
