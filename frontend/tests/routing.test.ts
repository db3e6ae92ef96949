import { expect, test } from 'vitest'
import { chatAt, pathOf } from '../src/app/routing'
import { NEW } from '../src/state/state'

test('a conversation has an address, and the address leads back to it', () => {
  expect(pathOf('conv_12ab')).toBe('/c/conv_12ab')
  expect(chatAt('/c/conv_12ab')).toBe('conv_12ab')
})

test('a chat that has no conversation yet has none', () => {
  expect(pathOf(NEW)).toBe('/')
  expect(pathOf('local_3')).toBe('/')
})

test.each(['/', '/c/', '/c/other_1', '/c/conv_1/../../auth', '/c/conv_%2e%2e', '/settings'])(
  '%s is a new chat',
  (path) => {
    expect(chatAt(path)).toBe(NEW)
  },
)
