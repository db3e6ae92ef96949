import { request } from './http'
import type { List } from './resources'

// What users do with their own account. All times are Unix seconds.

export interface Session {
  readonly id: string
  /** Like "Firefox, Linux"; empty for a client that does not say what it is. */
  readonly device: string
  readonly created_at: number
  readonly last_used_at: number
  readonly expires_at: number
  /** Whether it is the one that asks. */
  readonly current: boolean
}

export type Scope = 'chat' | 'admin'

export interface ApiKey {
  readonly id: string
  readonly name: string
  readonly scope: Scope
  /** The beginning of the key. */
  readonly prefix: string
  readonly created_at: number
  readonly last_used_at: number | null
  readonly expires_at: number | null
}

export interface NewKey extends ApiKey {
  /** The key itself, in this answer and in no other. */
  readonly key: string
}

export const changePassword = (current: string, next: string) =>
  request<void>('POST', '/auth/password', { current_password: current, new_password: next })

export const deleteAccount = (current: string) =>
  request<void>('DELETE', '/auth/me', { current_password: current })

export const sessions = () => request<List<Session>>('GET', '/auth/sessions')

export const endSession = (id: string) =>
  request<void>('DELETE', `/auth/sessions/${encodeURIComponent(id)}`)

export const endOtherSessions = () => request<void>('DELETE', '/auth/sessions')

export const keys = () => request<List<ApiKey>>('GET', '/auth/keys')

export const createKey = (name: string, scope: Scope, expiresAt: number | null) =>
  request<NewKey>('POST', '/auth/keys', {
    name,
    scope,
    ...(expiresAt === null ? {} : { expires_at: expiresAt }),
  })

export const deleteKey = (id: string) =>
  request<void>('DELETE', `/auth/keys/${encodeURIComponent(id)}`)
