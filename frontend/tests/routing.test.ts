import { expect, test } from 'vitest'
import { chatFromPath, pathOf } from '../src/app/routing'
import { NEW } from '../src/state/state'

test('the path of a conversation leads back to it', () => {
  expect(pathOf('conv_12ab')).toBe('/c/conv_12ab')
  expect(chatFromPath('/c/conv_12ab')).toBe('conv_12ab')
})

test('a chat without a conversation has no path of its own', () => {
  expect(pathOf(NEW)).toBe('/')
  expect(pathOf('local_3')).toBe('/')
})

test.each(['/', '/c/', '/c/other_1', '/c/conv_1/../../auth', '/c/conv_%2e%2e', '/settings'])(
  '%s is a new chat',
  (path) => {
    expect(chatFromPath(path)).toBe(NEW)
  },
)
