import { expect, test } from 'vitest'
import { curlExample, expiresAt, hasExpired } from '../src/app/api-keys'

const now = 1_764_000_000_500

test('a key expires after its days, in whole seconds, or never', () => {
  expect(expiresAt('30', now)).toBe(1_764_000_000 + 30 * 86_400)
  expect(expiresAt('365', now)).toBe(1_764_000_000 + 365 * 86_400)
  expect(expiresAt('never', now)).toBeNull()
})

test('a key has expired from the second of its expiry', () => {
  expect(hasExpired(1_764_000_000, now)).toBe(true)
  expect(hasExpired(1_764_000_001, now)).toBe(false)
  expect(hasExpired(null, now)).toBe(false)
})

test('the curl example of a key is one command with a JSON body', () => {
  const command = curlExample('https://chat.example.org', 'pk_a-b_c', 'chat', '你好！')
  expect(command.replaceAll(' \\\n  ', ' ')).toBe(
    'curl https://chat.example.org/v1/responses -H "Authorization: Bearer pk_a-b_c"' +
      ` -H "Content-Type: application/json" -d '{"input":"你好！"}'`,
  )
})

test('the curl example of an admin key, which cannot chat, lists the users', () => {
  const command = curlExample('https://chat.example.org', 'pk_1', 'admin', 'Hello!')
  expect(command).toContain('https://chat.example.org/auth/admin/users')
  expect(command).not.toContain('Hello!')
})
