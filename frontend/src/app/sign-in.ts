import { backoff } from '../api/backoff'
import { ApiError } from '../api/http'
import type { Options, User } from '../api/resources'
import { arrivalAt } from './sign-in-fragment'
import type { Store } from './store.svelte'

export interface Door {
  options(): Promise<Options>
  login(username: string, password: string): Promise<User>
  register(username: string, password: string, invite: string | null): Promise<User>
  reset(token: string, password: string): Promise<void>
}

/** How one comes in. What the server refuses is thrown as ApiError, and nothing has changed then. */
export class Entrance {
  readonly #store: Store
  readonly #door: Door
  readonly #opened: (user: User) => void
  #asking: Promise<void> | null = null

  constructor(store: Store, door: Door, opened: (user: User) => void) {
    this.#store = store
    this.#door = door
    this.#opened = opened
  }

  /** True if the address brought something; then it must not stay there. */
  arrive(fragment: string): boolean {
    const arrival = arrivalAt(fragment)
    if (arrival === null) return false
    if ('link' in arrival) this.#store.dispatch({ type: 'entry.linked', link: arrival.link })
    else this.#store.dispatch({ type: 'entry.refused', remark: arrival.remark })
    return true
  }

  /** Returns after the first answer, whatever it is; asks on for as long as there was none. */
  ask(): Promise<void> {
    this.#asking ??= this.#heard().then((heard) => void this.#askOn(heard))
    return this.#asking
  }

  login = async (username: string, password: string): Promise<void> =>
    this.#opened(await this.#door.login(username, password))

  register = async (username: string, password: string): Promise<void> => {
    const { link } = this.#store.state.entry
    const invite = link?.kind === 'invite' ? link.token : null
    try {
      this.#opened(await this.#door.register(username, password, invite))
    } catch (error) {
      // Somebody else was first, or the administrator has just closed the door.
      if (error instanceof ApiError && error.code === 'registration_closed') void this.ask()
      throw error
    }
  }

  reset = async (password: string): Promise<void> => {
    const { link } = this.#store.state.entry
    if (link?.kind !== 'reset') return
    await this.#door.reset(link.token, password)
    this.#store.dispatch({ type: 'entry.reset' })
  }

  choose = (registering: boolean): void =>
    this.#store.dispatch({ type: 'entry.chosen', registering })

  decline = (): void => this.#store.dispatch({ type: 'entry.declined' })

  async #askOn(heard: boolean): Promise<void> {
    for (let attempt = 0; !heard; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, backoff(attempt)))
      heard = await this.#heard()
    }
    this.#asking = null
  }

  async #heard(): Promise<boolean> {
    try {
      this.#store.dispatch({ type: 'entry.offered', options: await this.#door.options() })
      return true
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      return false
    }
  }
}
