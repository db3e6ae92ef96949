import type { Scope } from '../api/account'

export type Expiry = '30' | '90' | '365' | 'never'

export const expiries: readonly Expiry[] = ['30', '90', '365', 'never']

const DAY_SECONDS = 86_400

/** Returns Unix seconds; null for a key that never expires. */
export function expiresAt(expiry: Expiry, nowMs: number): number | null {
  if (expiry === 'never') return null
  return Math.floor(nowMs / 1000) + Number(expiry) * DAY_SECONDS
}

export function hasExpired(at: number | null, nowMs: number): boolean {
  return at !== null && at * 1000 <= nowMs
}

/** Returns a shell command that works as it stands. The characters of a key need no quoting. */
export function curlExample(origin: string, key: string, scope: Scope, question: string): string {
  const authorization = `-H "Authorization: Bearer ${key}"`
  if (scope === 'admin') return `curl ${origin}/auth/admin/users \\\n  ${authorization}`
  const body = JSON.stringify({ input: question })
  return [
    `curl ${origin}/v1/responses`,
    authorization,
    '-H "Content-Type: application/json"',
    `-d '${body}'`,
  ].join(' \\\n  ')
}
