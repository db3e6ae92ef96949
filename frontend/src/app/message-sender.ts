import { ApiError } from '../api/http'
import type { Question } from '../api/active-turn'
import type { Conversation } from '../api/resources'
import { uuid } from '../api/uuid'
import { isLocal, NEW, type ChatId, type Failure } from '../state/state'
import type { Store } from './store.svelte'
import { titleOf } from './title'

export interface Turns {
  create(chat: ChatId, question: Question): Promise<boolean>
  /** False if no socket could carry it. */
  cancel(chat: ChatId, responseId: string): boolean
}

export interface Server {
  createConversation(): Promise<Conversation>
  cancelResponse(responseId: string): Promise<unknown>
}

/** The gateway takes frames of 64 KiB; the rest of the frame is short. */
const LARGEST_BYTES = 64_000
const TOO_LARGE: Failure = { code: 'too_large', message: '' }
const UNREACHABLE: Failure = { code: 'unreachable', message: '' }

/** Takes a question from the composer to the server, and stops an answer. */
export class Sending {
  readonly #store: Store
  readonly #turns: () => Turns | null
  readonly #server: Server
  #count = 0

  constructor(store: Store, turns: () => Turns | null, server: Server) {
    this.#store = store
    this.#turns = turns
    this.#server = server
  }

  async send(from: ChatId, text: string): Promise<void> {
    if (text.trim() === '' || this.#store.chat(from).turn !== null) return
    const chat = from === NEW ? this.#begin(text) : from
    const message = uuid()
    this.#store.inChat(chat, { type: 'message.submitted', message, text })
    await this.#deliver(chat, { clientMessageId: message, text })
  }

  async retry(chat: ChatId, message: string): Promise<void> {
    const question = this.#store.chat(chat).messages.find(({ id }) => id === message)
    if (question?.status !== 'unsent' || this.#store.chat(chat).turn !== null) return
    this.#store.inChat(chat, { type: 'message.retried', message })
    await this.#deliver(chat, { clientMessageId: message, text: question.text })
  }

  stop(chat: ChatId): void {
    const { turn } = this.#store.chat(chat)
    if (turn === null || turn.stopping) return
    // Nobody knows yet whether there is anything to stop.
    if (turn.phase === 'recovering' && turn.responseId === null) return
    this.#store.inChat(chat, { type: 'stop.requested' })
    this.remind(chat)
  }

  /**
   * Says again that an answer is to stop, if it is: the response had no name before, or the line
   * went away that had carried the wish.
   */
  remind(chat: ChatId): void {
    const { turn } = this.#store.chat(chat)
    if (turn?.stopping && turn.responseId !== null) void this.#cancel(chat, turn.responseId)
  }

  async #cancel(chat: ChatId, responseId: string): Promise<void> {
    if (this.#turns()?.cancel(chat, responseId)) return
    try {
      await this.#server.cancelResponse(responseId)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      this.#store.inChat(chat, { type: 'stop.failed' })
    }
  }

  #begin(text: string): ChatId {
    const chat = `local_${++this.#count}`
    this.#store.dispatch({ type: 'chat.begun', chat, title: titleOf(text) })
    return chat
  }

  async #deliver(chat: ChatId, question: Question): Promise<void> {
    let id = chat
    if (sizeOf(question.text) > LARGEST_BYTES) {
      return this.#store.inChat(chat, { type: 'message.failed', failure: TOO_LARGE })
    }
    try {
      if (isLocal(chat)) id = await this.#create(chat)
      if (!(await this.#turns()?.create(id, question))) throw new ApiError(0, 'unreachable', '')
    } catch (error) {
      this.#store.inChat(id, { type: 'message.failed', failure: failureOf(error) })
    }
  }

  async #create(chat: ChatId): Promise<ChatId> {
    const conversation = await this.#server.createConversation()
    this.#store.dispatch({ type: 'chat.created', chat, conversation })
    return conversation.id
  }
}

function sizeOf(text: string): number {
  return new TextEncoder().encode(JSON.stringify(text)).length
}

function failureOf(error: unknown): Failure {
  if (!(error instanceof ApiError)) throw error
  return error.status === 0 ? UNREACHABLE : { code: error.code, message: error.message }
}
