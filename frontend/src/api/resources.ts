// The resources of the wire that the page reads (Open Responses, OpenAI Conversations).

export interface User {
  readonly id: string
  readonly username: string
  readonly role: string
}

/** What is offered to somebody who is not logged in. */
export interface Options {
  readonly registration: 'first' | 'closed' | 'invite' | 'open'
  /** The name of the provider one can log in with instead. */
  readonly openid: string | null
}

export interface Conversation {
  readonly id: string
  /** Unix seconds. */
  readonly created_at: number
  readonly metadata: { readonly title?: string } | null
  /** The responses that run in it, the newest last. */
  readonly active_responses?: readonly string[]
}

export interface Content {
  readonly type: string
  readonly text?: string
}

/** Of each type the page reads what it knows; there are more types and fields, and there will be others. */
export interface Item {
  readonly id: string
  readonly type: string
  readonly role?: 'user' | 'assistant' | 'system' | 'developer'
  readonly status?: 'in_progress' | 'completed' | 'incomplete'
  readonly content?: readonly Content[]
  /** Of a function call. */
  readonly name?: string
  readonly arguments?: string
}

export interface List<T> {
  readonly data: readonly T[]
  readonly last_id: string | null
  readonly has_more: boolean
}

export interface ErrorBody {
  readonly type: string
  readonly code: string | null
  readonly message: string
  readonly param: string | null
}

export function textOf(item: Item): string {
  if (item.type === 'function_call') return item.arguments ?? ''
  return Array.isArray(item.content) ? item.content.map((part) => part?.text ?? '').join('') : ''
}
