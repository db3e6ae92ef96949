import type { ChatEvent, PageEvent } from '../state/event'
import { reduce } from '../state/reduce'
import { chatOf, initialState, type Chat, type ChatId, type State } from '../state/state'

/** Holds the page's state for the components; the reducer computes each next state. */
export class Store {
  state: State = $state.raw(initialState)
  readonly #subscribers: ((state: State) => void)[] = []

  readonly dispatch = (event: PageEvent): void => {
    this.state = reduce(this.state, event)
    for (const notify of this.#subscribers) notify(this.state)
  }

  readonly dispatchToChat = (chat: ChatId, event: ChatEvent): void => {
    this.dispatch({ type: 'chat', chat, event })
  }

  chat(id: ChatId): Chat {
    return chatOf(this.state, id)
  }

  subscribe(subscriber: (state: State) => void): void {
    this.#subscribers.push(subscriber)
  }
}
