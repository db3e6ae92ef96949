import { expect, test } from 'vitest'
import { en } from '../src/i18n/en'
import { whyBrokenOff, whyNotSent } from '../src/i18n/turn-errors'

const failure = (code: string) => ({ code, message: 'The server’s own words.' })

test('of a full storage it is said what still works', () => {
  for (const why of [whyNotSent, whyBrokenOff]) {
    const sentence = why(en, failure('storage_full'))
    expect(sentence).toContain('Everything can be read, nothing can be added.')
    expect(sentence).toContain('administrator')
  }
})

test('of a server that restarts it is said that it comes back', () => {
  for (const why of [whyNotSent, whyBrokenOff])
    expect(why(en, failure('gateway_leaving'))).toContain('restarting')
})

test('what the page has no words for is told in the server’s', () => {
  expect(whyNotSent(en, failure('of_tomorrow'))).toBe('Not sent. The server’s own words.')
  expect(whyBrokenOff(en, failure('of_tomorrow'))).toBe(
    'The answer broke off. The server’s own words.',
  )
})
