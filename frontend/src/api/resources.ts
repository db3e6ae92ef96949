// The API resources that the page reads (Open Responses, OpenAI Conversations).

export interface User {
  readonly id: string
  readonly username: string
  readonly role: string
}

/** The ways to log in or register. */
export interface LoginOptions {
  readonly registration: 'first' | 'closed' | 'invite' | 'open'
  /** The display name of the OpenID provider, if there is one. */
  readonly openid: string | null
}

export interface Conversation {
  readonly id: string
  /** Unix seconds. */
  readonly created_at: number
  readonly metadata: { readonly title?: string } | null
  /** The running responses, newest last. */
  readonly active_responses?: readonly string[]
}

export interface Content {
  readonly type: string
  readonly text?: string
}

/** The fields that the page reads. There are more types and fields, and future versions add others. */
export interface Item {
  readonly id: string
  readonly type: string
  readonly role?: 'user' | 'assistant' | 'system' | 'developer'
  readonly status?: 'in_progress' | 'completed' | 'incomplete'
  readonly content?: readonly Content[]
  /** Only for function calls. */
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
