import { request } from './http'
import type { List } from './resources'

// Requests about the user's own account. All times are Unix seconds.

interface Session {
  readonly id: string
  /** For example "Firefox, Linux"; empty for an unknown client. */
  readonly device: string
  readonly created_at: number
  readonly last_used_at: number
  readonly expires_at: number
  /** True for the session of this request. */
  readonly current: boolean
}

export type Scope = 'chat' | 'admin'

export interface ApiKey {
  readonly id: string
  readonly name: string
  readonly scope: Scope
  /** The first characters of the key. */
  readonly prefix: string
  readonly created_at: number
  readonly last_used_at: number | null
  readonly expires_at: number | null
}

export interface CreatedKey extends ApiKey {
  /** The complete key, returned only here. */
  readonly key: string
}

export const changePassword = (current: string, next: string) =>
  request<void>('POST', '/auth/password', { current_password: current, new_password: next })

export const deleteAccount = (current: string) =>
  request<void>('DELETE', '/auth/me', { current_password: current })

export const listSessions = () => request<List<Session>>('GET', '/auth/sessions')

export const endSession = (id: string) =>
  request<void>('DELETE', `/auth/sessions/${encodeURIComponent(id)}`)

export const endOtherSessions = () => request<void>('DELETE', '/auth/sessions')

export const listKeys = () => request<List<ApiKey>>('GET', '/auth/keys')

export const createKey = (name: string, scope: Scope, expiresAt: number | null) =>
  request<CreatedKey>('POST', '/auth/keys', {
    name,
    scope,
    ...(expiresAt === null ? {} : { expires_at: expiresAt }),
  })

export const deleteKey = (id: string) =>
  request<void>('DELETE', `/auth/keys/${encodeURIComponent(id)}`)
