import { ApiError } from '../api/http'

/** The request of a form or a button, one at a time: its pending state and its error. */
export class FormAction {
  pending = $state(false)
  error: ApiError | null = $state.raw(null)
  readonly #onError: (error: ApiError) => void

  constructor(onError: (error: ApiError) => void = () => {}) {
    this.#onError = onError
  }

  /** Resolves to true on success. The caller keeps the form's values until then. */
  async run(request: () => Promise<void>): Promise<boolean> {
    if (this.pending) return false
    this.pending = true
    // A live region announces the same text again only if it was removed first.
    this.error = null
    try {
      await request()
      return true
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      this.error = error
      this.#onError(error)
      return false
    } finally {
      this.pending = false
    }
  }
}
