import * as api from '../api/endpoints'
import { backoff } from '../api/backoff'
import { Deltas } from '../api/delta-buffer'
import { endsTurn, type ServerEvent } from '../api/events'
import { ApiError } from '../api/http'
import type { User } from '../api/resources'
import { Switchboard } from '../api/socket-pool'
import { isLocal, NEW, type ChatId, type State } from '../state/state'
import { chatAt, pathOf } from './routing'
import { DraftShelf } from './drafts'
import { Entrance } from './sign-in'
import { History } from './history'
import { Sending } from './message-sender'
import { lasting } from './storage'
import { Store } from './store.svelte'

/** The page: everything it can do, wired together once. */
export class Parley {
  readonly store = new Store()
  readonly entrance = new Entrance(this.store, api, (user) => this.#open(user))
  readonly #history = new History(this.store, api, {
    running: (chat, response) => this.#board?.follow(chat, response),
    expired: () => this.#close(),
  })
  readonly #sending = new Sending(this.store, () => this.#board, api)
  readonly #deltas = new Deltas((chat, event) => this.store.inChat(chat, event))
  readonly #drafts = new DraftShelf(lasting)
  #board: Switchboard | null = null

  async start(): Promise<void> {
    this.store.dispatch({ type: 'chat.selected', chat: chatAt(location.pathname) })
    this.store.watch((state) => this.#remember(state))
    this.#arrive()
    addEventListener('hashchange', () => this.#arrive())
    addEventListener('popstate', () => void this.#show(chatAt(location.pathname)))
    addEventListener('online', () => this.#board?.hurry())
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.#board?.hurry()
    })
    await this.#resume()
  }

  /** False if the server could not be reached: then the session still holds. */
  async logout(): Promise<boolean> {
    try {
      await api.logout()
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      if (error.status !== 401) return false
    }
    this.leave()
    return true
  }

  /** The session is over, and its user wanted that. */
  leave(): void {
    const { user } = this.store.state
    this.#close()
    if (user !== null) this.#drafts.forget(user.id)
    // A page that outlives its user would show the next one what was said.
    location.assign('/')
  }

  /** With the link that the visitor came with. */
  async reset(password: string): Promise<void> {
    await this.entrance.reset(password)
    // It may have been the password of whoever is logged in here, and has ended that session then.
    if (this.store.state.session === 'in') await this.check()
  }

  /** Whether the session still holds: the page is closed if the server says that it does not. */
  async check(): Promise<void> {
    const error = await api.me().then(
      () => null,
      (reason: unknown) => reason,
    )
    if (error instanceof ApiError && error.status === 401) this.#close()
  }

  select = (chat: ChatId): void => {
    if (chat !== this.store.state.selected) history.pushState(null, '', pathOf(chat))
    void this.#show(chat)
  }

  send = (chat: ChatId, text: string): void => void this.#sending.send(chat, text)
  retry = (chat: ChatId, message: string): void => void this.#sending.retry(chat, message)
  stop = (chat: ChatId): void => this.#sending.stop(chat)
  reload = (chat: ChatId): void => void this.#history.open(chat)
  list = (further: boolean): void => void this.#history.list(further)
  hurry = (): void => this.#board?.hurry()

  draft = (chat: ChatId, text: string): void => {
    this.store.inChat(chat, { type: 'draft.changed', text })
    // The server closes a line on which nothing was said: by the time of sending it is back.
    this.#board?.wake()
  }

  discard = (chat: ChatId, message: string): void =>
    this.store.inChat(chat, { type: 'message.discarded', message })

  /** The session of an earlier visit, if it still holds; waits for a server that is away. */
  async #resume(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        return this.#open(await api.me())
      } catch (error) {
        if (!(error instanceof ApiError)) throw error
        if (error.status === 401) return await this.#ask()
      }
      this.store.dispatch({ type: 'connection.lost' })
      await new Promise((resolve) => setTimeout(resolve, backoff(attempt)))
    }
  }

  /** Only then is it known which form to show; one that changes under the hands is worse than none. */
  async #ask(): Promise<void> {
    await this.entrance.ask()
    this.#close()
  }

  #arrive(): void {
    // What opens an account stays neither in the address nor in the browser's history.
    if (!this.entrance.arrive(location.hash)) return
    history.replaceState(null, '', location.pathname)
    void this.entrance.ask()
  }

  #open(user: User): void {
    this.#board?.close()
    this.store.dispatch({ type: 'session.opened', user, drafts: this.#drafts.load(user.id) })
    this.#board = this.#connect()
    void this.#history.list().then(() => this.#title())
    void this.#show(this.store.state.selected)
  }

  #connect(): Switchboard {
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:'
    return new Switchboard(`${scheme}//${location.host}/v1/responses`, {
      opened: () => this.#opened(),
      lost: (refused) => void this.#lost(refused),
      turnLost: (chat) => this.#turnLost(chat),
      turnResumed: (chat) => {
        this.store.inChat(chat, { type: 'turn.resumed' })
        this.#sending.remind(chat)
      },
      turnGone: (chat) => {
        this.#turnLost(chat)
        const response = this.store.chat(chat).turn?.responseId
        if (response) this.#history.forget(response)
        void this.#history.recover(chat)
      },
      received: (chat, event) => this.#received(chat, event),
    })
  }

  #opened(): void {
    this.store.dispatch({ type: 'connection.opened' })
    for (const [id, { turn }] of Object.entries(this.store.state.chats))
      if (turn?.phase === 'recovering' && !this.#board?.follows(id)) void this.#history.recover(id)
  }

  #turnLost(chat: ChatId): void {
    this.#deltas.flush(chat)
    this.store.inChat(chat, { type: 'turn.lost' })
  }

  #received(chat: ChatId, event: ServerEvent): void {
    this.#deltas.push(chat, event)
    if (event.type === 'response.created') this.#sending.remind(chat)
    if (!endsTurn(event)) return
    const questions = this.store.chat(chat).messages.filter(({ role }) => role === 'user')
    if (questions.length === 1) void this.#history.titled(chat)
  }

  async #lost(refused: boolean): Promise<void> {
    this.store.dispatch({ type: 'connection.lost' })
    if (!refused) return
    // A browser does not say why a handshake failed.
    await this.check()
  }

  #close(): void {
    this.#board?.close()
    this.#board = null
    this.store.dispatch({ type: 'session.closed' })
    if (this.store.state.entry.options === null) void this.entrance.ask()
  }

  async #show(chat: ChatId): Promise<void> {
    this.store.dispatch({ type: 'chat.selected', chat })
    if (this.store.state.session === 'in') await this.#history.open(chat)
  }

  #title(): void {
    const { selected, sidebar } = this.store.state
    const known = isLocal(selected) || sidebar.entries.some(({ id }) => id === selected)
    if (!known) void this.#history.find(selected)
  }

  #remember(state: State): void {
    if (state.session !== 'in' || state.user === null) return
    this.#drafts.save(state.user.id, state)
    // The address follows the state: a new chat gets its own as soon as the server has made it.
    const path = pathOf(state.selected)
    if (location.pathname !== path && state.selected !== NEW) history.replaceState(null, '', path)
  }
}
