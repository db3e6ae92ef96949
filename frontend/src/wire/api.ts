import type { Conversation, ErrorBody, Item, List, User } from './resource'

/** `status` 0: the server could not be reached. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.code = code
  }
}

const TIMEOUT_MS = 20_000
const PAGE = 100

async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method, signal: AbortSignal.timeout(TIMEOUT_MS) }
  if (body !== undefined) {
    init.headers = { 'Content-Type': 'application/json' }
    init.body = JSON.stringify(body)
  }
  let response: Response
  try {
    response = await fetch(path, init)
  } catch {
    throw new ApiError(0, 'unreachable', `${method} ${path}: no answer`)
  }
  if (!response.ok) throw await refusal(response)
  if (response.status === 204) return undefined as T
  try {
    return (await response.json()) as T
  } catch {
    throw new ApiError(0, 'unreachable', `${method} ${path}: the answer is not JSON`)
  }
}

async function refusal(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => null)) as { error?: ErrorBody } | null
  const code = body?.error?.code ?? `http_${response.status}`
  return new ApiError(response.status, code, body?.error?.message ?? response.statusText)
}

function query(parameters: Record<string, string | number | null>): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== null)
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()
}

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
