import { query, request } from './http'
import type { Conversation, Item, List, LoginOptions, User } from './resources'

const CONVERSATIONS_PAGE_SIZE = 50
const ITEMS_PAGE_SIZE = 100

export const loginOptions = () => request<LoginOptions>('GET', '/auth/options')

/** `invite` is null if registration is open, and for the first account. */
export const register = (username: string, password: string, invite: string | null) =>
  request<User>('POST', '/auth/register', {
    username,
    password,
    ...(invite === null ? {} : { invite }),
  })

export const resetPassword = (token: string, password: string) =>
  request<void>('POST', '/auth/reset', { token, password })

export const login = (username: string, password: string) =>
  request<User>('POST', '/auth/login', { username, password })

export const logout = () => request<void>('POST', '/auth/logout')

export const me = () => request<User>('GET', '/auth/me')

/** Creates it without a title: the server generates one after the first answer. */
export const createConversation = () => request<Conversation>('POST', '/v1/conversations', {})

export const getConversation = (id: string) =>
  request<Conversation>('GET', `/v1/conversations/${encodeURIComponent(id)}`)

export const listConversations = (after: string | null) =>
  request<List<Conversation>>(
    'GET',
    `/v1/conversations?${query({ limit: CONVERSATIONS_PAGE_SIZE, after })}`,
  )

/** Stops an answer on any replica; resolves when it has ended. */
export const cancelResponse = (id: string) =>
  request<unknown>('POST', `/v1/responses/${encodeURIComponent(id)}/cancel`)

/** All items of a conversation, oldest first. */
export async function listAllItems(id: string): Promise<readonly Item[]> {
  const path = `/v1/conversations/${encodeURIComponent(id)}/items`
  const items: Item[] = []
  let after: string | null = null
  for (;;) {
    const page: List<Item> = await request(
      'GET',
      `${path}?${query({ limit: ITEMS_PAGE_SIZE, order: 'asc', after })}`,
    )
    items.push(...page.data)
    if (!page.has_more || page.last_id === null || page.last_id === after) return items
    after = page.last_id
  }
}
