import { backoff } from './backoff'
import { parseEvent, type ServerEvent } from './events'

/** Why a connection ended: the handshake failed, the server closed an idle socket, or anything else. */
export type CloseReason = 'refused' | 'idle' | 'dropped'

export interface SocketListener {
  opened(socket: ReconnectingSocket): void
  /** Returns true to reconnect after a delay, false to stay closed until the socket is needed. */
  closed(socket: ReconnectingSocket, reason: CloseReason): boolean
  received(socket: ReconnectingSocket, event: ServerEvent): void
}

export interface SocketOptions {
  /** Called for each connection: the URL names the response to resume. */
  readonly url: (socket: ReconnectingSocket) => string
  readonly connect?: (url: string) => WebSocket
}

/** A connection that lasted this long resets the backoff. */
const STABLE_MS = 10_000
/** The server closes idle sockets, and sockets at their age limit, with this code. */
const NORMAL_CLOSURE = 1000

/** A WebSocket that reconnects by itself. It starts disconnected. */
export class ReconnectingSocket {
  readonly #options: SocketOptions
  readonly #listener: SocketListener
  readonly #createWebSocket: (url: string) => WebSocket
  #socket: WebSocket | null = null
  #timer: ReturnType<typeof setTimeout> | undefined
  #attempt = 0
  #openedAt = 0
  #isOpen = false
  #isDisposed = false
  #waiters: ((isOpen: boolean) => void)[] = []

  constructor(options: SocketOptions, listener: SocketListener) {
    this.#options = options
    this.#listener = listener
    this.#createWebSocket = options.connect ?? ((url) => new WebSocket(url))
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Returns false, and sends nothing, if the socket is not open. */
  send(event: object): boolean {
    if (!this.#isOpen || this.#socket?.readyState !== 1) return false
    this.#socket.send(JSON.stringify(event))
    return true
  }

  /** Resolves to whether the socket is open within `timeoutMs`. */
  waitUntilOpen(timeoutMs: number): Promise<boolean> {
    if (this.#isOpen) return Promise.resolve(true)
    if (this.#isDisposed) return Promise.resolve(false)
    this.connectNow()
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeoutMs)
      this.#waiters.push((isOpen) => {
        clearTimeout(timer)
        resolve(isOpen)
      })
    })
  }

  /** Connects without waiting for the rest of a backoff delay. */
  connectNow(): void {
    if (this.#isDisposed || this.#socket !== null) return
    this.#attempt = 0
    this.#connect()
  }

  /** Connects an idle socket; a running backoff delay is not cut short. */
  connectIfIdle(): void {
    if (this.#timer === undefined) this.connectNow()
  }

  /** Drops the current connection, because its events have a gap or have stopped, and reconnects. */
  reconnect(): void {
    const socket = this.#socket
    if (socket === null) return
    this.#handleClose(socket, 0)
    socket.close()
  }

  close(): void {
    this.#isDisposed = true
    clearTimeout(this.#timer)
    this.#socket?.close(NORMAL_CLOSURE)
    this.#notifyWaiters(false)
  }

  #connect(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const socket = this.#createWebSocket(this.#options.url(this))
    this.#socket = socket
    socket.onopen = () => this.#handleOpen(socket)
    socket.onmessage = ({ data }) => this.#handleMessage(socket, data)
    // No onerror: an error event is always followed by close and carries no more information.
    socket.onclose = ({ code }) => this.#handleClose(socket, code)
  }

  #handleOpen(socket: WebSocket): void {
    if (this.#isDisposed || socket !== this.#socket) return socket.close(NORMAL_CLOSURE)
    this.#isOpen = true
    this.#openedAt = Date.now()
    this.#notifyWaiters(true)
    this.#listener.opened(this)
  }

  #handleMessage(socket: WebSocket, frame: unknown): void {
    const event = this.#isDisposed || socket !== this.#socket ? null : parseEvent(frame)
    if (event !== null) this.#listener.received(this, event)
  }

  #handleClose(socket: WebSocket, code: number): void {
    if (this.#isDisposed || socket !== this.#socket) return
    const reason = !this.#isOpen ? 'refused' : code === NORMAL_CLOSURE ? 'idle' : 'dropped'
    if (this.#isOpen && Date.now() - this.#openedAt > STABLE_MS) this.#attempt = 0
    this.#isOpen = false
    this.#socket = null
    if (!this.#listener.closed(this, reason)) return this.#notifyWaiters(false)
    // The listener may have closed this socket, or connected it already.
    if (this.#isDisposed || this.#socket !== null) return
    this.#timer = setTimeout(() => this.#connect(), backoff(this.#attempt++))
  }

  #notifyWaiters(isOpen: boolean): void {
    for (const resolve of this.#waiters.splice(0)) resolve(isOpen)
  }
}
