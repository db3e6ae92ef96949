/** Web storage that ignores errors: where it is blocked or full, the page works without it. */
export class SafeStorage {
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
      // The value remains in the page's state.
    }
  }
}

export const safeLocalStorage = new SafeStorage(() => localStorage)
