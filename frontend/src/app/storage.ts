/** Web storage that may be blocked or full: then the page forgets, and works all the same. */
export class Shelf {
  readonly #storage: () => Storage

  constructor(storage: () => Storage) {
    this.#storage = storage
  }

  read(key: string): string | null {
    try {
      return this.#storage().getItem(key)
    } catch {
      return null
    }
  }

  write(key: string, value: string | null): void {
    try {
      if (value === null) this.#storage().removeItem(key)
      else this.#storage().setItem(key, value)
    } catch {
      // Nothing to do: the value lives on in the page's state.
    }
  }
}

export const lasting = new Shelf(() => localStorage)
