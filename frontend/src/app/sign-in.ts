import { backoff } from '../api/backoff'
import { ApiError } from '../api/http'
import type { LoginOptions, User } from '../api/resources'
import { parseFragment } from './sign-in-fragment'
import type { Store } from './store.svelte'

export interface SignInApi {
  loginOptions(): Promise<LoginOptions>
  login(username: string, password: string): Promise<User>
  register(username: string, password: string, invite: string | null): Promise<User>
  resetPassword(token: string, password: string): Promise<void>
}

/**
 * Logs in, registers and resets passwords. An error of the server is thrown as ApiError and leaves
 * the state unchanged.
 */
export class SignIn {
  readonly #store: Store
  readonly #api: SignInApi
  readonly #onSession: (user: User) => void
  #loading: Promise<void> | null = null

  constructor(store: Store, api: SignInApi, onSession: (user: User) => void) {
    this.#store = store
    this.#api = api
    this.#onSession = onSession
  }

  /** Returns true if the fragment carried something; the caller removes it from the URL. */
  readFragment(fragment: string): boolean {
    const parsed = parseFragment(fragment)
    if (parsed === null) return false
    if ('link' in parsed) this.#store.dispatch({ type: 'signIn.linkOpened', link: parsed.link })
    else this.#store.dispatch({ type: 'signIn.failed', notice: parsed.notice })
    return true
  }

  /** Resolves after the first attempt, successful or not; retries continue in the background. */
  loadOptions(): Promise<void> {
    this.#loading ??= this.#tryLoadOptions().then((loaded) => void this.#retryLoadOptions(loaded))
    return this.#loading
  }

  login = async (username: string, password: string): Promise<void> =>
    this.#onSession(await this.#api.login(username, password))

  register = async (username: string, password: string): Promise<void> => {
    const { link } = this.#store.state.signIn
    const invite = link?.kind === 'invite' ? link.token : null
    try {
      this.#onSession(await this.#api.register(username, password, invite))
    } catch (error) {
      // The options have changed: the first account exists, or registration was closed.
      if (error instanceof ApiError && error.code === 'registration_closed') void this.loadOptions()
      throw error
    }
  }

  resetPassword = async (password: string): Promise<void> => {
    const { link } = this.#store.state.signIn
    if (link?.kind !== 'reset') return
    await this.#api.resetPassword(link.token, password)
    this.#store.dispatch({ type: 'signIn.passwordReset' })
  }

  selectForm = (registering: boolean): void =>
    this.#store.dispatch({ type: 'signIn.formSelected', registering })

  dismissLink = (): void => this.#store.dispatch({ type: 'signIn.linkDismissed' })

  async #retryLoadOptions(loaded: boolean): Promise<void> {
    for (let attempt = 0; !loaded; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, backoff(attempt)))
      loaded = await this.#tryLoadOptions()
    }
    this.#loading = null
  }

  async #tryLoadOptions(): Promise<boolean> {
    try {
      const options = await this.#api.loginOptions()
      this.#store.dispatch({ type: 'signIn.optionsLoaded', options })
      return true
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      return false
    }
  }
}
