import { afterEach, expect, test, vi } from 'vitest'
import { ApiError, request } from '../src/api/http'

afterEach(() => {
  vi.unstubAllGlobals()
})

async function errorOf(body: string, status: number, headers = {}): Promise<ApiError> {
  vi.stubGlobal('fetch', async () => new Response(body, { status, headers }))
  return request('GET', '/auth/me').then(
    () => Promise.reject(new Error('expected an error')),
    (error: unknown) => error as ApiError,
  )
}

test('an error carries the server’s code, message and Retry-After', async () => {
  const body = JSON.stringify({ error: { code: 'too_many_attempts', message: 'Wait.' } })
  const error = await errorOf(body, 429, { 'Retry-After': '64' })
  expect(error).toMatchObject({ status: 429, code: 'too_many_attempts', retryAfterSeconds: 64 })
  expect(error.message).toBe('Wait.')
})

test.each(['', 'Wed, 21 Oct 2026 07:28:00 GMT', '0', '-3'])(
  'a Retry-After of "%s" is ignored',
  async (value) => {
    const error = await errorOf('{}', 503, { 'Retry-After': value })
    expect(error.retryAfterSeconds).toBeNull()
  },
)

test('an error response without JSON gets a code from its status', async () => {
  expect(await errorOf('<html>', 502)).toMatchObject({ status: 502, code: 'http_502' })
})

test('a network error has the status 0', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('no network')))
  await expect(request('GET', '/auth/me')).rejects.toMatchObject({ status: 0, code: 'unreachable' })
})
