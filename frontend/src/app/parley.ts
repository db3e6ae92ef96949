import { backoff } from '../api/backoff'
import { DeltaBuffer } from '../api/delta-buffer'
import * as api from '../api/endpoints'
import { endsTurn, type ServerEvent } from '../api/events'
import { ApiError } from '../api/http'
import type { User } from '../api/resources'
import { SocketPool } from '../api/socket-pool'
import { isLocal, NEW, type ChatId, type State } from '../state/state'
import { safeLocalStorage } from '../ui/storage'
import { DraftStorage } from './drafts'
import { History } from './history'
import { MessageSender } from './message-sender'
import { chatFromPath, pathOf } from './routing'
import { SignIn } from './sign-in'
import { Store } from './store.svelte'

/** The application: creates its parts once and wires them together. */
export class Parley {
  readonly store = new Store()
  readonly signIn = new SignIn(this.store, api, (user) => this.#openSession(user))
  readonly #history = new History(this.store, api, {
    responseRunning: (chat, response) => this.#sockets?.follow(chat, response),
    sessionExpired: () => this.#closeSession(),
  })
  readonly #sender = new MessageSender(this.store, () => this.#sockets, api)
  readonly #deltas = new DeltaBuffer((chat, event) => this.store.dispatchToChat(chat, event))
  readonly #drafts = new DraftStorage(safeLocalStorage)
  #sockets: SocketPool | null = null

  async start(): Promise<void> {
    this.store.dispatch({ type: 'chat.selected', chat: chatFromPath(location.pathname) })
    this.store.subscribe((state) => this.#saveState(state))
    this.#readFragment()
    addEventListener('hashchange', () => this.#readFragment())
    addEventListener('popstate', () => void this.#showChat(chatFromPath(location.pathname)))
    addEventListener('online', () => this.#sockets?.connectNow())
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.#sockets?.connectNow()
    })
    await this.#restoreSession()
  }

  /** Resolves to false if the server could not be reached: the session stays open. */
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

  /** Clears the user's data from the page after a logout or the deletion of the account. */
  leave(): void {
    const { user } = this.store.state
    this.#closeSession()
    if (user !== null) this.#drafts.clear(user.id)
    // A reload makes sure that the next user sees nothing of this one.
    location.assign('/')
  }

  /** Sets a new password with the reset link from the URL. */
  async resetPassword(password: string): Promise<void> {
    await this.signIn.resetPassword(password)
    // If the link belongs to the current user, the reset has ended this session.
    if (this.store.state.session === 'in') await this.checkSession()
  }

  /** Closes the session on the page if the server has ended it. */
  async checkSession(): Promise<void> {
    try {
      await api.me()
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      if (error.status === 401) this.#closeSession()
    }
  }

  select = (chat: ChatId): void => {
    if (chat !== this.store.state.selected) history.pushState(null, '', pathOf(chat))
    void this.#showChat(chat)
  }

  send = (chat: ChatId, text: string): void => void this.#sender.send(chat, text)
  retry = (chat: ChatId, message: string): void => void this.#sender.retry(chat, message)
  stop = (chat: ChatId): void => this.#sender.stop(chat)
  reload = (chat: ChatId): void => void this.#history.open(chat)
  loadList = (append: boolean): void => void this.#history.loadList(append)
  reconnectNow = (): void => this.#sockets?.connectNow()

  setDraft = (chat: ChatId, text: string): void => {
    this.store.dispatchToChat(chat, { type: 'draft.changed', text })
    // The server closes idle sockets: connecting now saves the delay when the message is sent.
    this.#sockets?.connectIfIdle()
  }

  discard = (chat: ChatId, message: string): void =>
    this.store.dispatchToChat(chat, { type: 'message.discarded', message })

  /** Restores the session of an earlier visit, if it is still valid; retries while the server is away. */
  async #restoreSession(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        return this.#openSession(await api.me())
      } catch (error) {
        if (!(error instanceof ApiError)) throw error
        if (error.status === 401) return await this.#showSignIn()
      }
      this.store.dispatch({ type: 'connection.lost' })
      await new Promise((resolve) => setTimeout(resolve, backoff(attempt)))
    }
  }

  /** Loads the options first, so that the form does not change while the visitor types. */
  async #showSignIn(): Promise<void> {
    await this.signIn.loadOptions()
    this.#closeSession()
  }

  #readFragment(): void {
    // A one-time link must stay neither in the URL nor in the browser's history.
    if (!this.signIn.readFragment(location.hash)) return
    history.replaceState(null, '', location.pathname)
    void this.signIn.loadOptions()
  }

  #openSession(user: User): void {
    this.#sockets?.close()
    this.store.dispatch({ type: 'session.opened', user, drafts: this.#drafts.load(user.id) })
    this.#sockets = this.#createSockets()
    void this.#history.loadList().then(() => this.#loadSelectedTitle())
    void this.#showChat(this.store.state.selected)
  }

  #createSockets(): SocketPool {
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:'
    return new SocketPool(`${scheme}//${location.host}/v1/responses`, {
      opened: () => this.#handleConnected(),
      lost: (refused) => void this.#handleDisconnected(refused),
      turnLost: (chat) => this.#handleTurnLost(chat),
      turnResumed: (chat) => {
        this.store.dispatchToChat(chat, { type: 'turn.resumed' })
        this.#sender.sendPendingStop(chat)
      },
      resumeFailed: (chat) => {
        this.#handleTurnLost(chat)
        const response = this.store.chat(chat).turn?.responseId
        if (response) this.#history.markUnavailable(response)
        void this.#history.recover(chat)
      },
      received: (chat, event) => this.#handleEvent(chat, event),
    })
  }

  #handleConnected(): void {
    this.store.dispatch({ type: 'connection.opened' })
    for (const [id, { turn }] of Object.entries(this.store.state.chats))
      if (turn?.phase === 'recovering' && !this.#sockets?.isFollowing(id))
        void this.#history.recover(id)
  }

  #handleTurnLost(chat: ChatId): void {
    this.#deltas.flush(chat)
    this.store.dispatchToChat(chat, { type: 'turn.lost' })
  }

  #handleEvent(chat: ChatId, event: ServerEvent): void {
    this.#deltas.push(chat, event)
    if (event.type === 'response.created') this.#sender.sendPendingStop(chat)
    if (!endsTurn(event)) return
    const questions = this.store.chat(chat).messages.filter(({ role }) => role === 'user')
    if (questions.length === 1) void this.#history.pollTitle(chat)
  }

  async #handleDisconnected(refused: boolean): Promise<void> {
    this.store.dispatch({ type: 'connection.lost' })
    if (!refused) return
    // A browser does not report why a handshake failed.
    await this.checkSession()
  }

  #closeSession(): void {
    this.#sockets?.close()
    this.#sockets = null
    this.store.dispatch({ type: 'session.closed' })
    if (this.store.state.signIn.options === null) void this.signIn.loadOptions()
  }

  async #showChat(chat: ChatId): Promise<void> {
    this.store.dispatch({ type: 'chat.selected', chat })
    if (this.store.state.session === 'in') await this.#history.open(chat)
  }

  #loadSelectedTitle(): void {
    const { selected, sidebar } = this.store.state
    const isListed = isLocal(selected) || sidebar.entries.some(({ id }) => id === selected)
    if (!isListed) void this.#history.loadTitle(selected)
  }

  #saveState(state: State): void {
    if (state.session !== 'in' || state.user === null) return
    this.#drafts.save(state.user.id, state)
    // The URL follows the state: a new chat gets its path when the server creates the conversation.
    const path = pathOf(state.selected)
    if (location.pathname !== path && state.selected !== NEW) history.replaceState(null, '', path)
  }
}
