import { describe, expect, test } from 'vitest'
import { en } from '../src/i18n/en'
import { atFault, remarkIn, whyRefused } from '../src/i18n/api-errors'
import { zh } from '../src/i18n/zh'
import { ApiError } from '../src/api/http'

const said = (status: number, code: string, seconds: number | null = null): string =>
  whyRefused(en, new ApiError(status, code, 'The server’s own words.', seconds))

describe('a refusal', () => {
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
  ])('%i %s is told in words of the page, in both languages', (status, code) => {
    const error = new ApiError(status, code, 'The server’s own words.')
    const sentences = [whyRefused(en, error), whyRefused(zh, error)]
    expect(sentences).not.toContain('The server’s own words.')
    expect(sentences[0]).not.toBe(sentences[1])
  })

  test('only of wrong credentials says that they are wrong', () => {
    const others = [400, 403, 404, 409, 413, 422, 429, 500, 503].map((one) => said(one, 'other'))
    expect(said(401, 'invalid_credentials')).toBe(en.wrongCredentials)
    expect(others).not.toContain(en.wrongCredentials)
  })

  test('without words here is told in the server’s own', () => {
    expect(said(400, 'of_tomorrow')).toBe('The server’s own words.')
  })

  test('without any words still says that it was one', () => {
    expect(whyRefused(en, new ApiError(418, 'http_418', ''))).toBe(en.didNotWork)
  })

  test('says how long to wait, if the server did', () => {
    expect(said(429, 'too_many_attempts', 64)).toBe('Too many attempts. Try again in 64 s.')
    expect(said(429, 'rate_limit_exceeded', 1)).toContain('Try again in 1 s.')
    expect(said(429, 'too_many_requests')).toBe(en.busy)
  })
})

test('each field is marked for what is wrong with it', () => {
  const fields = (code: string) => atFault(new ApiError(400, code, ''))
  expect(fields('invalid_credentials')).toEqual(['username', 'password'])
  expect(fields('name_taken')).toEqual(['username'])
  expect(fields('unsuitable_password')).toEqual(['password'])
  expect(fields('wrong_password')).toEqual(['current'])
  expect(fields('database_unavailable')).toEqual([])
  expect(atFault(null)).toEqual([])
})

test('each way in which a provider’s log-in ends has a sentence of its own', () => {
  const remarks = [
    'openid_state',
    'openid_refused',
    'openid_no_account',
    'openid_unavailable',
    'openid_failed',
  ] as const
  expect(new Set(remarks.map((remark) => remarkIn(en, remark))).size).toBe(remarks.length)
})
