import type { ChatEvent, PageEvent } from '../state/event'
import { reduce } from '../state/reduce'
import { chatOf, initial, type Chat, type ChatId, type State } from '../state/state'

/** Holds the page's state for the view; what it becomes is decided by the reducer. */
export class Store {
  state: State = $state.raw(initial)
  readonly #watchers: ((state: State) => void)[] = []

  readonly dispatch = (event: PageEvent): void => {
    this.state = reduce(this.state, event)
    for (const watch of this.#watchers) watch(this.state)
  }

  readonly inChat = (chat: ChatId, event: ChatEvent): void => {
    this.dispatch({ type: 'chat', chat, event })
  }

  chat(id: ChatId): Chat {
    return chatOf(this.state, id)
  }

  watch(watcher: (state: State) => void): void {
    this.#watchers.push(watcher)
  }
}
