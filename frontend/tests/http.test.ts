import { afterEach, expect, test, vi } from 'vitest'
import { ApiError, request } from '../src/api/http'

afterEach(() => {
  vi.unstubAllGlobals()
})

async function refusedWith(body: string, status: number, headers = {}): Promise<ApiError> {
  vi.stubGlobal('fetch', async () => new Response(body, { status, headers }))
  return request('GET', '/auth/me').then(
    () => Promise.reject(new Error('it was not refused')),
    (error: unknown) => error as ApiError,
  )
}

test('a refusal carries the server’s code, words and seconds', async () => {
  const body = JSON.stringify({ error: { code: 'too_many_attempts', message: 'Wait.' } })
  const error = await refusedWith(body, 429, { 'Retry-After': '64' })
  expect(error).toMatchObject({ status: 429, code: 'too_many_attempts', retryAfterSeconds: 64 })
  expect(error.message).toBe('Wait.')
})

test.each(['', 'Wed, 21 Oct 2026 07:28:00 GMT', '0', '-3'])(
  'a Retry-After of "%s" tells no seconds',
  async (value) => {
    const error = await refusedWith('{}', 503, { 'Retry-After': value })
    expect(error.retryAfterSeconds).toBeNull()
  },
)

test('a refusal that is no JSON has its status for a code', async () => {
  expect(await refusedWith('<html>', 502)).toMatchObject({ status: 502, code: 'http_502' })
})

test('no answer at all has the status 0', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('no network')))
  await expect(request('GET', '/auth/me')).rejects.toMatchObject({ status: 0, code: 'unreachable' })
})
