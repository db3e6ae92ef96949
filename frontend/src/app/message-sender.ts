import type { Question } from '../api/active-turn'
import { ApiError } from '../api/http'
import type { Conversation } from '../api/resources'
import { isLocal, NEW, type ChatId, type Failure } from '../state/state'
import type { Store } from './store.svelte'
import { titleFromText } from './title'
import { uuid } from './uuid'

export interface TurnTransport {
  create(chat: ChatId, question: Question): Promise<boolean>
  /** Returns false if the turn has no open socket. */
  cancel(chat: ChatId, responseId: string): boolean
}

export interface SenderApi {
  createConversation(): Promise<Conversation>
  cancelResponse(responseId: string): Promise<unknown>
}

/** The gateway accepts frames of 64 KiB; the rest of the frame is short. */
const MAX_TEXT_BYTES = 64_000
const TOO_LARGE: Failure = { code: 'too_large', message: '' }
const UNREACHABLE: Failure = { code: 'unreachable', message: '' }

/** Sends questions to the server, and stops answers. */
export class MessageSender {
  readonly #store: Store
  readonly #transport: () => TurnTransport | null
  readonly #api: SenderApi
  #localChats = 0

  constructor(store: Store, transport: () => TurnTransport | null, api: SenderApi) {
    this.#store = store
    this.#transport = transport
    this.#api = api
  }

  async send(from: ChatId, text: string): Promise<void> {
    if (text.trim() === '' || this.#store.chat(from).turn !== null) return
    const chat = from === NEW ? this.#startChat(text) : from
    const message = uuid()
    this.#store.dispatchToChat(chat, { type: 'message.submitted', message, text })
    await this.#deliver(chat, { clientMessageId: message, text })
  }

  async retry(chat: ChatId, message: string): Promise<void> {
    const question = this.#store.chat(chat).messages.find(({ id }) => id === message)
    if (question?.status !== 'unsent' || this.#store.chat(chat).turn !== null) return
    this.#store.dispatchToChat(chat, { type: 'message.retried', message })
    await this.#deliver(chat, { clientMessageId: message, text: question.text })
  }

  stop(chat: ChatId): void {
    const { turn } = this.#store.chat(chat)
    if (turn === null || turn.stopping) return
    // It is unknown whether a response exists.
    if (turn.phase === 'recovering' && turn.responseId === null) return
    this.#store.dispatchToChat(chat, { type: 'stop.requested' })
    this.sendPendingStop(chat)
  }

  /**
   * Sends the cancel of an answer that is to stop: its response had no id before, or the socket
   * that carried the cancel was lost.
   */
  sendPendingStop(chat: ChatId): void {
    const { turn } = this.#store.chat(chat)
    if (turn?.stopping && turn.responseId !== null) void this.#cancel(chat, turn.responseId)
  }

  async #cancel(chat: ChatId, responseId: string): Promise<void> {
    if (this.#transport()?.cancel(chat, responseId)) return
    try {
      await this.#api.cancelResponse(responseId)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      this.#store.dispatchToChat(chat, { type: 'stop.failed' })
    }
  }

  #startChat(text: string): ChatId {
    const chat = `local_${++this.#localChats}`
    this.#store.dispatch({ type: 'chat.started', chat, title: titleFromText(text) })
    return chat
  }

  async #deliver(chat: ChatId, question: Question): Promise<void> {
    let id = chat
    if (encodedBytes(question.text) > MAX_TEXT_BYTES) {
      return this.#store.dispatchToChat(chat, { type: 'message.failed', failure: TOO_LARGE })
    }
    try {
      if (isLocal(chat)) id = await this.#createConversation(chat)
      if (!(await this.#transport()?.create(id, question))) throw new ApiError(0, 'unreachable', '')
    } catch (error) {
      this.#store.dispatchToChat(id, { type: 'message.failed', failure: failureOf(error) })
    }
  }

  async #createConversation(chat: ChatId): Promise<ChatId> {
    const conversation = await this.#api.createConversation()
    this.#store.dispatch({ type: 'chat.created', chat, conversation })
    return conversation.id
  }
}

function encodedBytes(text: string): number {
  return new TextEncoder().encode(JSON.stringify(text)).length
}

function failureOf(error: unknown): Failure {
  if (!(error instanceof ApiError)) throw error
  return error.status === 0 ? UNREACHABLE : { code: error.code, message: error.message }
}
