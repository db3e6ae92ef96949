import { expect, test } from 'vitest'
import { curlOf, expiresAt, hasExpired } from '../src/app/api-keys'

const now = 1_764_000_000_500

test('a key expires in whole seconds after so many days, or never', () => {
  expect(expiresAt('30', now)).toBe(1_764_000_000 + 30 * 86_400)
  expect(expiresAt('365', now)).toBe(1_764_000_000 + 365 * 86_400)
  expect(expiresAt('never', now)).toBeNull()
})

test('a key has expired from that second on', () => {
  expect(hasExpired(1_764_000_000, now)).toBe(true)
  expect(hasExpired(1_764_000_001, now)).toBe(false)
  expect(hasExpired(null, now)).toBe(false)
})

test('the line to try a key with is one command, and its body JSON', () => {
  const line = curlOf('https://chat.example.org', 'pk_a-b_c', 'chat', '你好！')
  expect(line.replaceAll(' \\\n  ', ' ')).toBe(
    'curl https://chat.example.org/v1/responses -H "Authorization: Bearer pk_a-b_c"' +
      ` -H "Content-Type: application/json" -d '{"input":"你好！"}'`,
  )
})

test('an administrator’s key, which can not chat, is tried with what it can', () => {
  const line = curlOf('https://chat.example.org', 'pk_1', 'admin', 'Hello!')
  expect(line).toContain('https://chat.example.org/auth/admin/users')
  expect(line).not.toContain('Hello!')
})
