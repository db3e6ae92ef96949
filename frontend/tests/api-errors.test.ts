import { describe, expect, test } from 'vitest'
import { en } from '../src/i18n/en'
import { invalidFields, noticeMessage, errorMessage } from '../src/i18n/api-errors'
import { zh } from '../src/i18n/zh'
import { ApiError } from '../src/api/http'

const message = (status: number, code: string, seconds: number | null = null): string =>
  errorMessage(en, new ApiError(status, code, 'The message of the server.', seconds))

describe('an error', () => {
  test.each([
    [400, 'unsuitable_name'],
    [400, 'unsuitable_password'],
    [400, 'wrong_password'],
    [400, 'invalid_link'],
    [401, 'invalid_credentials'],
    [401, 'not_logged_in'],
    [403, 'foreign_origin'],
    [403, 'registration_closed'],
    [409, 'name_taken'],
    [429, 'too_many_attempts'],
    [429, 'busy'],
    [500, 'server_error'],
    [503, 'database_unavailable'],
    [504, 'upstream_timeout'],
    [0, 'unreachable'],
  ])('%i %s is explained by the page, in both languages', (status, code) => {
    const error = new ApiError(status, code, 'The message of the server.')
    const sentences = [errorMessage(en, error), errorMessage(zh, error)]
    expect(sentences).not.toContain('The message of the server.')
    expect(sentences[0]).not.toBe(sentences[1])
  })

  test('names wrong credentials only for wrong credentials', () => {
    const others = [400, 403, 404, 409, 413, 422, 429, 500, 503].map((one) => message(one, 'other'))
    expect(message(401, 'invalid_credentials')).toBe(en.wrongCredentials)
    expect(others).not.toContain(en.wrongCredentials)
  })

  test('with an unknown code is explained by the server’s message', () => {
    expect(message(400, 'of_tomorrow')).toBe('The message of the server.')
  })

  test('without any message still has a text', () => {
    expect(errorMessage(en, new ApiError(418, 'http_418', ''))).toBe(en.unknownError)
  })

  test('includes the Retry-After of the server', () => {
    expect(message(429, 'too_many_attempts', 64)).toBe('Too many attempts. Try again in 64 s.')
    expect(message(429, 'rate_limit_exceeded', 1)).toContain('Try again in 1 s.')
    expect(message(429, 'too_many_requests')).toBe(en.busy)
  })
})

test('an error marks the fields it concerns', () => {
  const fields = (code: string) => invalidFields(new ApiError(400, code, ''))
  expect(fields('invalid_credentials')).toEqual(['username', 'password'])
  expect(fields('name_taken')).toEqual(['username'])
  expect(fields('unsuitable_password')).toEqual(['password'])
  expect(fields('wrong_password')).toEqual(['currentPassword'])
  expect(fields('database_unavailable')).toEqual([])
  expect(invalidFields(null)).toEqual([])
})

test('each error of an OpenID login has its own text', () => {
  const notices = [
    'openid_state',
    'openid_refused',
    'openid_no_account',
    'openid_unavailable',
    'openid_failed',
  ] as const
  expect(new Set(notices.map((notice) => noticeMessage(en, notice))).size).toBe(notices.length)
})
