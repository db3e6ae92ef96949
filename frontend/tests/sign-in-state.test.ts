import { describe, expect, test } from 'vitest'
import {
  currentForm,
  interruptsSession,
  canRegister,
  reduceSignIn,
  initialSignIn,
  type SignInState,
  type SignInEvent,
} from '../src/state/sign-in'
import { reduce } from '../src/state/reduce'
import { initialState } from '../src/state/state'
import type { LoginOptions } from '../src/api/resources'

const offered = (registration: LoginOptions['registration']): SignInEvent => ({
  type: 'signIn.optionsLoaded',
  options: { registration, openid: null },
})
const invited: SignInEvent = { type: 'signIn.linkOpened', link: { kind: 'invite', token: 'pi_1' } }
const forgotten: SignInEvent = { type: 'signIn.linkOpened', link: { kind: 'reset', token: 'pr_1' } }
const chosen = (registering: boolean): SignInEvent => ({ type: 'signIn.formSelected', registering })

const after = (...events: readonly SignInEvent[]): SignInState =>
  events.reduce(reduceSignIn, initialSignIn)

describe('the form', () => {
  test.each([
    ['login before the options are loaded', [], 'login'],
    ['the first account on an empty server', [offered('first')], 'first'],
    ['the first account whatever form was selected', [chosen(true), offered('first')], 'first'],
    ['login where registration is open', [offered('open')], 'login'],
    ['registration where it is open and selected', [offered('open'), chosen(true)], 'register'],
    ['login without an invite', [offered('invite'), chosen(true)], 'login'],
    ['registration with an invite', [offered('invite'), invited], 'register'],
    ['registration with an invite before the options are loaded', [invited], 'register'],
    ['login for an invited visitor who selects it', [invited, chosen(false)], 'login'],
    ['login with an invite where registration is closed', [invited, offered('closed')], 'login'],
    ['the reset form with a reset link', [offered('closed'), forgotten], 'reset'],
    ['login after the reset', [forgotten, { type: 'signIn.passwordReset' }], 'login'],
    ['login after a dismissed reset link', [forgotten, { type: 'signIn.linkDismissed' }], 'login'],
  ] as const)('is %s', (_, events, form) => expect(currentForm(after(...events))).toBe(form))
})

test('an invite is kept while the login form is shown', () => {
  const state = after(offered('invite'), invited, chosen(false))
  expect(canRegister(state)).toBe(true)
  expect(state.link?.token).toBe('pi_1')
})

test('a notice disappears when another form is selected', () => {
  const state = after({ type: 'signIn.failed', notice: 'openid_state' }, chosen(true))
  expect(state.notice).toBeNull()
})

test('only a valid link interrupts a session', () => {
  expect(interruptsSession(after(offered('invite'), invited))).toBe(true)
  expect(interruptsSession(after(forgotten))).toBe(true)
  expect(interruptsSession(after(offered('closed'), invited))).toBe(false)
  expect(interruptsSession(after(offered('open'), chosen(true)))).toBe(false)
})

describe('a session', () => {
  const user = { id: 'user_1', username: 'alice', role: 'user' }
  const opened = { type: 'session.opened', user, drafts: {} } as const

  test('of an earlier visit keeps the link', () => {
    expect([forgotten, opened].reduce(reduce, initialState).signIn.link?.token).toBe('pr_1')
  })

  test('opened with a link clears the link', () => {
    const closed = { type: 'session.closed' } as const
    const state = [invited, closed, offered('invite'), opened].reduce(reduce, initialState)
    expect(state.signIn).toEqual(initialSignIn)
  })
})
