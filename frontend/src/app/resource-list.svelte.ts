import { ApiError } from '../api/http'
import type { List } from '../api/resources'

/** A list of things that the user owns, as the server has it. */
export class Roster<T extends { readonly id: string }> {
  /** Null until it was read. */
  rows: readonly T[] | null = $state.raw(null)
  readonly #read: () => Promise<List<T>>

  constructor(read: () => Promise<List<T>>) {
    this.#read = read
  }

  load = async (): Promise<void> => {
    this.rows = (await this.#read()).data
  }

  add(row: T): void {
    this.rows = [row, ...(this.rows ?? [])]
  }

  /** What is gone already was to go: another page may have been faster. */
  async remove(id: string, remove: (id: string) => Promise<void>): Promise<void> {
    await remove(id).catch((error: unknown) => {
      if (!(error instanceof ApiError) || error.status !== 404) throw error
    })
    this.rows = this.rows?.filter((row) => row.id !== id) ?? null
  }
}

/** Whose button takes the focus when a row goes with its own: the next one's, or the one's before. */
export function neighbour<T extends { readonly id: string }>(
  rows: readonly T[],
  id: string,
): string | null {
  const at = rows.findIndex((row) => row.id === id)
  return (rows[at + 1] ?? rows[at - 1])?.id ?? null
}
