import { query, request } from './http'
import type { Conversation, Item, List, Options, User } from './resources'

const PAGE = 100

export const options = () => request<Options>('GET', '/auth/options')

/** Without an invite where anybody may register, and for the first account of all. */
export const register = (username: string, password: string, invite: string | null) =>
  request<User>('POST', '/auth/register', {
    username,
    password,
    ...(invite === null ? {} : { invite }),
  })

export const reset = (token: string, password: string) =>
  request<void>('POST', '/auth/reset', { token, password })

export const login = (username: string, password: string) =>
  request<User>('POST', '/auth/login', { username, password })

export const logout = () => request<void>('POST', '/auth/logout')

export const me = () => request<User>('GET', '/auth/me')

/** Without a title: the server gives it one after the first answer. */
export const createConversation = () => request<Conversation>('POST', '/v1/conversations', {})

export const conversation = (id: string) =>
  request<Conversation>('GET', `/v1/conversations/${encodeURIComponent(id)}`)

export const conversations = (after: string | null, limit = 50) =>
  request<List<Conversation>>('GET', `/v1/conversations?${query({ limit, after })}`)

/** Stops an answer, through whatever replica runs it; answers when it has ended. */
export const cancelResponse = (id: string) =>
  request<unknown>('POST', `/v1/responses/${encodeURIComponent(id)}/cancel`)

/** All items of a conversation, oldest first. */
export async function allItems(id: string): Promise<readonly Item[]> {
  const path = `/v1/conversations/${encodeURIComponent(id)}/items`
  const items: Item[] = []
  let after: string | null = null
  for (;;) {
    const page: List<Item> = await request(
      'GET',
      `${path}?${query({ limit: PAGE, order: 'asc', after })}`,
    )
    items.push(...page.data)
    if (!page.has_more || page.last_id === null || page.last_id === after) return items
    after = page.last_id
  }
}
