import { describe, expect, test } from 'vitest'
import {
  formOf,
  interrupts,
  mayRegister,
  reduceEntry,
  unknownDoorway,
  type Doorway,
  type EntryEvent,
} from '../src/state/sign-in'
import { reduce } from '../src/state/reduce'
import { initial } from '../src/state/state'
import type { Options } from '../src/api/resources'

const offered = (registration: Options['registration']): EntryEvent => ({
  type: 'entry.offered',
  options: { registration, openid: null },
})
const invited: EntryEvent = { type: 'entry.linked', link: { kind: 'invite', token: 'pi_1' } }
const forgotten: EntryEvent = { type: 'entry.linked', link: { kind: 'reset', token: 'pr_1' } }
const chosen = (registering: boolean): EntryEvent => ({ type: 'entry.chosen', registering })

const after = (...events: readonly EntryEvent[]): Doorway =>
  events.reduce(reduceEntry, unknownDoorway)

describe('the form', () => {
  test.each([
    ['log-in before the server has told', [], 'login'],
    ['the administrator’s on an empty server', [offered('first')], 'first'],
    ['the administrator’s whatever was chosen', [chosen(true), offered('first')], 'first'],
    ['log-in where anybody may register', [offered('open')], 'login'],
    ['registration for who wants it there', [offered('open'), chosen(true)], 'register'],
    ['log-in without an invite', [offered('invite'), chosen(true)], 'login'],
    ['registration with an invite', [offered('invite'), invited], 'register'],
    ['registration for who is faster than the server', [invited], 'register'],
    ['log-in for the invited who has an account', [invited, chosen(false)], 'login'],
    ['log-in with an invite to a closed server', [invited, offered('closed')], 'login'],
    ['a new password’s with its link', [offered('closed'), forgotten], 'reset'],
    ['log-in once it is set', [forgotten, { type: 'entry.reset' }], 'login'],
    ['log-in for who does not want a new one', [forgotten, { type: 'entry.declined' }], 'login'],
  ] as const)('is %s', (_, events, form) => expect(formOf(after(...events))).toBe(form))
})

test('an invite is kept while its visitor looks at the log-in', () => {
  const doorway = after(offered('invite'), invited, chosen(false))
  expect(mayRegister(doorway)).toBe(true)
  expect(doorway.link?.token).toBe('pi_1')
})

test('what was remarked goes when another form is wanted', () => {
  const doorway = after({ type: 'entry.refused', remark: 'openid_state' }, chosen(true))
  expect(doorway.remark).toBeNull()
})

test('a link interrupts who is logged in, and nothing else does', () => {
  expect(interrupts(after(offered('invite'), invited))).toBe(true)
  expect(interrupts(after(forgotten))).toBe(true)
  expect(interrupts(after(offered('closed'), invited))).toBe(false)
  expect(interrupts(after(offered('open'), chosen(true)))).toBe(false)
})

describe('a session', () => {
  const user = { id: 'user_1', username: 'alice', role: 'user' }
  const opened = { type: 'session.opened', user, drafts: {} } as const

  test('of an earlier visit uses no link up', () => {
    expect([forgotten, opened].reduce(reduce, initial).entry.link?.token).toBe('pr_1')
  })

  test('that was made with a link leaves nothing of it', () => {
    const closed = { type: 'session.closed' } as const
    const state = [invited, closed, offered('invite'), opened].reduce(reduce, initial)
    expect(state.entry).toEqual(unknownDoorway)
  })
})
