import { createEvent, newTurn, resumeQuery, type ActiveTurn, type Question } from './active-turn'
import { endsTurn, type ErrorEvent, type ServerEvent } from './events'
import { ReconnectingSocket, type CloseReason, type SocketOptions } from './reconnecting-socket'

interface SocketPoolListener {
  opened(): void
  /** No socket is open. `refused`: the server may have rejected the handshake. */
  lost(refused: boolean): void
  received(chat: string, event: ServerEvent): void
  /** The socket of a turn was lost; it reconnects and resumes after the last event. */
  turnLost(chat: string): void
  turnResumed(chat: string): void
  /** The events of a turn are out of reach: only the stored conversation has its outcome. */
  resumeFailed(chat: string): void
}

const CONNECT_TIMEOUT_MS = 6_000
const IDLE_TIMEOUT_MS = 30_000
/** A socket without an event for this long during a turn may be dead without a close event. */
const SILENCE_TIMEOUT_MS = 15_000

/**
 * Gives each running turn its own socket, because a socket carries one response at a time:
 * a question in one chat does not wait for a long answer in another. The primary socket lasts as
 * long as the session, extra sockets until they have been idle for a while.
 */
export class SocketPool {
  readonly #url: string
  readonly #listener: SocketPoolListener
  readonly #connect: SocketOptions['connect']
  readonly #turns = new Map<ReconnectingSocket, ActiveTurn>()
  readonly #extra = new Map<ReconnectingSocket, ReturnType<typeof setTimeout> | undefined>()
  readonly #primary: ReconnectingSocket

  constructor(url: string, listener: SocketPoolListener, connect?: SocketOptions['connect']) {
    this.#url = url
    this.#listener = listener
    this.#connect = connect
    this.#primary = this.#createSocket()
    this.#primary.connectNow()
  }

  /** Starts a turn; resolves to false if the server could not be reached. */
  async create(chat: string, question: Question): Promise<boolean> {
    const socket = this.#acquire()
    const turn = newTurn(chat, null)
    this.#turns.set(socket, turn)
    const isOpen = await socket.waitUntilOpen(CONNECT_TIMEOUT_MS)
    turn.sent = isOpen && socket.send(createEvent(chat, question))
    if (turn.sent) this.#restartSilenceTimer(socket, turn)
    else this.#release(socket, turn)
    return turn.sent
  }

  /** Follows a turn that is running on the server, from its first event. */
  follow(chat: string, responseId: string): void {
    if (this.isFollowing(chat)) return
    const socket = this.#addExtra()
    this.#turns.set(socket, newTurn(chat, responseId))
    socket.connectNow()
  }

  isFollowing(chat: string): boolean {
    return [...this.#turns.values()].some((turn) => turn.chat === chat)
  }

  /** Returns false if the turn has no open socket. */
  cancel(chat: string, responseId: string): boolean {
    const [socket] = [...this.#turns].find(([, turn]) => turn.chat === chat) ?? []
    return socket?.send({ type: 'response.cancel', response_id: responseId }) ?? false
  }

  /** Connects the primary socket if it is idle, because a message is about to be sent. */
  connectIfIdle(): void {
    this.#primary.connectIfIdle()
  }

  connectNow(): void {
    for (const socket of this.#sockets) socket.connectNow()
  }

  close(): void {
    for (const socket of this.#sockets) socket.close()
    for (const timer of this.#extra.values()) clearTimeout(timer)
    for (const turn of this.#turns.values()) clearTimeout(turn.silenceTimer)
    this.#turns.clear()
    this.#extra.clear()
  }

  get #sockets(): readonly ReconnectingSocket[] {
    return [this.#primary, ...this.#extra.keys()]
  }

  #acquire(): ReconnectingSocket {
    const idle = this.#sockets.find((socket) => !this.#turns.has(socket))
    if (idle === undefined) return this.#addExtra()
    if (idle !== this.#primary) {
      clearTimeout(this.#extra.get(idle))
      this.#extra.set(idle, undefined)
    }
    return idle
  }

  #addExtra(): ReconnectingSocket {
    const socket = this.#createSocket()
    this.#extra.set(socket, undefined)
    return socket
  }

  #createSocket(): ReconnectingSocket {
    const url = (socket: ReconnectingSocket) => this.#url + resumeQuery(this.#turns.get(socket))
    return new ReconnectingSocket(this.#connect ? { url, connect: this.#connect } : { url }, {
      opened: (socket) => this.#handleOpen(socket),
      closed: (socket, reason) => this.#handleClose(socket, reason),
      received: (socket, event) => this.#handleEvent(socket, event),
    })
  }

  #handleOpen(socket: ReconnectingSocket): void {
    this.#listener.opened()
    const turn = this.#turns.get(socket)
    if (!turn?.responseId) return
    turn.resuming = true
    this.#restartSilenceTimer(socket, turn)
    this.#listener.turnResumed(turn.chat)
  }

  #handleEvent(socket: ReconnectingSocket, event: ServerEvent): void {
    const turn = this.#turns.get(socket)
    if (turn === undefined) return
    this.#restartSilenceTimer(socket, turn)
    const number = event.sequence_number
    if (number === undefined) {
      if (event.type === 'error') this.#handleError(socket, turn, event)
      return
    }
    if (number <= turn.lastSequenceNumber) return
    if (number > turn.lastSequenceNumber + 1) return socket.reconnect()
    turn.lastSequenceNumber = number
    turn.resuming = false
    if (event.type === 'response.created') turn.responseId = event.response.id
    if (endsTurn(event)) this.#release(socket, turn)
    if (event.type !== 'other') this.#listener.received(turn.chat, event)
  }

  /** Handles an error outside the event sequence: the reply to a create, a resume or a late cancel. */
  #handleError(socket: ReconnectingSocket, turn: ActiveTurn, event: ErrorEvent): void {
    // The server closes the socket next, and the close is handled there.
    if (event.error.code === 'websocket_connection_limit_reached') return
    if (turn.responseId === null) {
      this.#release(socket, turn)
      this.#listener.received(turn.chat, event)
    } else if (turn.resuming && event.status === 404) {
      this.#release(socket, turn)
      this.#listener.resumeFailed(turn.chat)
    } else if (turn.resuming) {
      socket.reconnect()
    }
  }

  #handleClose(socket: ReconnectingSocket, reason: CloseReason): boolean {
    const turn = this.#turns.get(socket)
    clearTimeout(turn?.silenceTimer)
    if (turn?.responseId) {
      if (reason !== 'refused') this.#listener.turnLost(turn.chat)
    } else if (turn?.sent) {
      // The question may or may not have arrived.
      this.#turns.delete(socket)
      this.#listener.resumeFailed(turn.chat)
    }
    const reconnects = this.#turns.has(socket) || (socket === this.#primary && reason !== 'idle')
    if (!reconnects) this.#remove(socket)
    else if (!this.#sockets.some(({ isOpen }) => isOpen)) this.#listener.lost(reason === 'refused')
    return reconnects
  }

  #restartSilenceTimer(socket: ReconnectingSocket, turn: ActiveTurn): void {
    clearTimeout(turn.silenceTimer)
    turn.silenceTimer = setTimeout(() => socket.reconnect(), SILENCE_TIMEOUT_MS)
  }

  /** Ends the turn of a socket; an extra socket is closed after the idle timeout. */
  #release(socket: ReconnectingSocket, turn: ActiveTurn): void {
    clearTimeout(turn.silenceTimer)
    this.#turns.delete(socket)
    if (!this.#extra.has(socket)) return
    const timer = setTimeout(() => {
      this.#remove(socket)
      socket.close()
    }, IDLE_TIMEOUT_MS)
    this.#extra.set(socket, timer)
  }

  #remove(socket: ReconnectingSocket): void {
    clearTimeout(this.#extra.get(socket))
    this.#extra.delete(socket)
  }
}
