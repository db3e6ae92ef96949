import { ApiError } from '../api/http'
import type { List } from '../api/resources'

/** The page's copy of a list on the server. */
export class ResourceList<T extends { readonly id: string }> {
  /** Null until the list has been loaded. */
  items: readonly T[] | null = $state.raw(null)
  readonly #fetch: () => Promise<List<T>>

  constructor(fetch: () => Promise<List<T>>) {
    this.#fetch = fetch
  }

  load = async (): Promise<void> => {
    this.items = (await this.#fetch()).data
  }

  add(item: T): void {
    this.items = [item, ...(this.items ?? [])]
  }

  /** A 404 counts as success: another page may have deleted the item. */
  async remove(id: string, remove: (id: string) => Promise<void>): Promise<void> {
    await remove(id).catch((error: unknown) => {
      if (!(error instanceof ApiError) || error.status !== 404) throw error
    })
    this.items = this.items?.filter((item) => item.id !== id) ?? null
  }
}

/** Returns the id whose button takes the focus after `id` is removed: the next one, or the previous one. */
export function neighbour<T extends { readonly id: string }>(
  items: readonly T[],
  id: string,
): string | null {
  const at = items.findIndex((item) => item.id === id)
  return (items[at + 1] ?? items[at - 1])?.id ?? null
}
