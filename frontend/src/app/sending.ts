import { ApiError } from '../wire/api'
import type { ServerEvent } from '../wire/event'
import type { Conversation } from '../wire/resource'
import { isLocal, NEW, type ChatId, type Failure } from '../state/state'
import type { Store } from './store.svelte'
import { titleOf } from './title'

export interface Turns {
  create(chat: ChatId, input: string): Promise<boolean>
  cancel(chat: ChatId, responseId: string): void
}

export type Found = (title: string) => Promise<Conversation>

/** The gateway takes frames of 64 KiB; the rest of the frame is short. */
const LARGEST_BYTES = 64_000
const TOO_LARGE: Failure = { code: 'too_large', message: '' }
const UNREACHABLE: Failure = { code: 'unreachable', message: '' }

/** Takes a question from the composer to the server, and stops an answer. */
export class Sending {
  readonly #store: Store
  readonly #turns: () => Turns | null
  readonly #found: Found
  #count = 0

  constructor(store: Store, turns: () => Turns | null, found: Found) {
    this.#store = store
    this.#turns = turns
    this.#found = found
  }

  async send(from: ChatId, text: string): Promise<void> {
    if (text.trim() === '' || this.#store.chat(from).turn !== null) return
    const chat = from === NEW ? this.#begin(text) : from
    const message = `message_${++this.#count}`
    this.#store.inChat(chat, { type: 'message.submitted', message, text })
    await this.#deliver(chat, text)
  }

  async retry(chat: ChatId, message: string): Promise<void> {
    const question = this.#store.chat(chat).messages.find(({ id }) => id === message)
    if (question?.status !== 'unsent' || this.#store.chat(chat).turn !== null) return
    this.#store.inChat(chat, { type: 'message.retried', message })
    await this.#deliver(chat, question.text)
  }

  stop(chat: ChatId): void {
    const { turn } = this.#store.chat(chat)
    if (turn === null || turn.phase === 'recovering' || turn.stopping) return
    this.#store.inChat(chat, { type: 'stop.requested' })
    if (turn.responseId !== null) this.#turns()?.cancel(chat, turn.responseId)
  }

  /** A stop asked for before the response had a name is sent as soon as it has one. */
  named(chat: ChatId, event: ServerEvent): void {
    if (event.type !== 'response.created') return
    if (this.#store.chat(chat).turn?.stopping) this.#turns()?.cancel(chat, event.response.id)
  }

  #begin(text: string): ChatId {
    const chat = `local_${++this.#count}`
    this.#store.dispatch({ type: 'chat.begun', chat, title: titleOf(text) })
    return chat
  }

  async #deliver(chat: ChatId, text: string): Promise<void> {
    let id = chat
    if (sizeOf(text) > LARGEST_BYTES) {
      return this.#store.inChat(chat, { type: 'message.failed', failure: TOO_LARGE })
    }
    try {
      if (isLocal(chat)) id = await this.#create(chat, text)
      if (!(await this.#turns()?.create(id, text))) throw new ApiError(0, 'unreachable', '')
    } catch (error) {
      this.#store.inChat(id, { type: 'message.failed', failure: failureOf(error) })
    }
  }

  async #create(chat: ChatId, text: string): Promise<ChatId> {
    const conversation = await this.#found(titleOf(text))
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
