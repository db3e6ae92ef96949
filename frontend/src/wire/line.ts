import { backoff } from './backoff'
import { parseEvent, type ServerEvent } from './event'

export interface LineListener {
  opened(line: Line): void
  /** `refused`: it was never open, so the handshake may have been turned down. */
  lost(line: Line, refused: boolean): void
  received(line: Line, event: ServerEvent): void
}

export interface LineSettings {
  readonly url: string
  /** False: one connection only. True: come back for ever. */
  readonly lasting: boolean
  readonly connect?: (url: string) => WebSocket
}

/** One WebSocket as the page sees it: open or not, and coming back by itself. */
export class Line {
  readonly #settings: LineSettings
  readonly #listener: LineListener
  readonly #connect: (url: string) => WebSocket
  #socket: WebSocket | null = null
  #timer: ReturnType<typeof setTimeout> | undefined
  #attempt = 0
  #open = false
  #closed = false
  #waiting: ((open: boolean) => void)[] = []

  constructor(settings: LineSettings, listener: LineListener) {
    this.#settings = settings
    this.#listener = listener
    this.#connect = settings.connect ?? ((url) => new WebSocket(url))
    this.#dial()
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

  /** Whether the line is open within `patience` milliseconds. */
  ready(patience: number): Promise<boolean> {
    if (this.#open) return Promise.resolve(true)
    if (this.#closed) return Promise.resolve(false)
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), patience)
      this.#waiting.push((open) => {
        clearTimeout(timer)
        resolve(open)
      })
    })
  }

  /** Skip the rest of a wait, for instance when the page becomes visible again. */
  hurry(): void {
    if (this.#timer === undefined) return
    this.#attempt = 0
    this.#dial()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#socket?.close(1000)
    this.#settle(false)
  }

  #dial(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const socket = this.#connect(this.#settings.url)
    this.#socket = socket
    socket.onopen = () => this.#opened()
    socket.onmessage = ({ data }) => this.#heard(data)
    // An error is always followed by close, and says nothing that close does not.
    socket.onclose = () => this.#lost()
  }

  #opened(): void {
    if (this.#closed) return this.#socket?.close(1000)
    this.#attempt = 0
    this.#open = true
    this.#settle(true)
    this.#listener.opened(this)
  }

  #heard(frame: unknown): void {
    const event = this.#closed ? null : parseEvent(frame)
    if (event !== null) this.#listener.received(this, event)
  }

  #lost(): void {
    if (this.#closed) return
    const refused = !this.#open
    this.#open = false
    if (this.#settings.lasting) {
      this.#timer = setTimeout(() => this.#dial(), backoff(this.#attempt++))
    } else {
      this.close()
    }
    this.#listener.lost(this, refused)
  }

  #settle(open: boolean): void {
    for (const resolve of this.#waiting.splice(0)) resolve(open)
  }
}
