import { expect, test } from 'vitest'
import { en } from '../src/i18n/en'
import { interruptedMessage, notSentMessage } from '../src/i18n/turn-errors'

const failure = (code: string) => ({ code, message: 'The message of the server.' })

test('a full storage is explained with what still works', () => {
  for (const explain of [notSentMessage, interruptedMessage]) {
    const sentence = explain(en, failure('storage_full'))
    expect(sentence).toContain('you can read your chats, but not add to them')
    expect(sentence).toContain('administrator')
  }
})

test('a restart of the server is explained', () => {
  for (const explain of [notSentMessage, interruptedMessage])
    expect(explain(en, failure('gateway_leaving'))).toContain('restarting')
})

test('an unknown code is explained by the server’s message', () => {
  expect(notSentMessage(en, failure('of_tomorrow'))).toBe('Not sent. The message of the server.')
  expect(interruptedMessage(en, failure('of_tomorrow'))).toBe(
    'The answer was interrupted. The message of the server.',
  )
})
