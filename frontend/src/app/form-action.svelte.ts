import { ApiError } from '../api/http'

/** What a form or a button asks of the server, one at a time, and how that went. */
export class Errand {
  busy = $state(false)
  failure: ApiError | null = $state.raw(null)
  readonly #refused: (error: ApiError) => void

  constructor(refused: (error: ApiError) => void = () => {}) {
    this.#refused = refused
  }

  /** True if it was done. What was typed stays with the caller until then. */
  async run(call: () => Promise<void>): Promise<boolean> {
    if (this.busy) return false
    this.busy = true
    // A live region tells the same words again only if they were gone.
    this.failure = null
    try {
      await call()
      return true
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      this.failure = error
      this.#refused(error)
      return false
    } finally {
      this.busy = false
    }
  }
}
