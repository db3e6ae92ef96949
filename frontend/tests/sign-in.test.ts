import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { SignIn, type SignInApi } from '../src/app/sign-in'
import { Store } from '../src/app/store.svelte'
import { currentForm } from '../src/state/sign-in'
import { ApiError } from '../src/api/http'
import type { LoginOptions, User } from '../src/api/resources'

const user: User = { id: 'user_1', username: 'alice', role: 'user' }

let store: Store
let offeredOptions: LoginOptions
let failure: ApiError | null
let sent: unknown[][]
let sessionUser: User | null
let loads: number
let signIn: SignIn

async function answer<T>(value: T, ...what: unknown[]): Promise<T> {
  sent.push(what)
  if (failure !== null) throw failure
  return value
}

beforeEach(() => {
  vi.useFakeTimers()
  store = new Store()
  offeredOptions = { registration: 'closed', openid: null }
  failure = null
  sent = []
  sessionUser = null
  loads = 0
  const api: SignInApi = {
    loginOptions: async () => {
      loads++
      if (failure?.status === 503) throw failure
      return offeredOptions
    },
    login: (...what) => answer(user, 'login', ...what),
    register: (...what) => answer(user, 'register', ...what),
    resetPassword: (...what) => answer(undefined, 'reset', ...what),
  }
  signIn = new SignIn(store, api, (opened) => (sessionUser = opened))
})

afterEach(() => {
  vi.useRealTimers()
})

test('the options decide the form once they are loaded', async () => {
  offeredOptions = { registration: 'first', openid: null }
  await signIn.loadOptions()
  expect(currentForm(store.state.signIn)).toBe('first')
})

test('two concurrent loads send one request, and both wait for it', async () => {
  await Promise.all([signIn.loadOptions(), signIn.loadOptions()])
  expect(loads).toBe(1)
  expect(store.state.signIn.options).toEqual(offeredOptions)
})

test('the options are requested until the server returns them', async () => {
  failure = new ApiError(503, 'database_unavailable', '')
  await signIn.loadOptions()
  expect(store.state.signIn.options).toBeNull()
  await vi.advanceTimersByTimeAsync(5_000)
  failure = null
  await vi.advanceTimersByTimeAsync(20_000)
  expect(store.state.signIn.options).toEqual(offeredOptions)
  const before = loads
  await vi.advanceTimersByTimeAsync(60_000)
  expect(loads).toBe(before)
})

test('an invite in the URL is sent with the registration', async () => {
  expect(signIn.readFragment('#invite=pi_1')).toBe(true)
  await signIn.register('alice', 'a good password')
  expect(sent).toEqual([['register', 'alice', 'a good password', 'pi_1']])
  expect(sessionUser).toEqual(user)
})

test('without an invite none is sent', async () => {
  expect(signIn.readFragment('#elsewhere')).toBe(false)
  await signIn.register('alice', 'a good password')
  expect(sent).toEqual([['register', 'alice', 'a good password', null]])
})

test('a reset link is sent with the password, and login follows', async () => {
  signIn.readFragment('#reset=pr_1')
  await signIn.resetPassword('a good password')
  expect(sent).toEqual([['reset', 'pr_1', 'a good password']])
  expect(currentForm(store.state.signIn)).toBe('login')
  expect(store.state.signIn.notice).toBe('password_set')
  expect(sessionUser).toBeNull()
})

test('a failed reset keeps its link for another attempt', async () => {
  signIn.readFragment('#reset=pr_1')
  failure = new ApiError(400, 'unsuitable_password', '')
  await expect(signIn.resetPassword('short')).rejects.toBe(failure)
  expect(currentForm(store.state.signIn)).toBe('reset')
})

test('the options are loaded again if another visitor created the first account', async () => {
  offeredOptions = { registration: 'first', openid: null }
  await signIn.loadOptions()
  offeredOptions = { registration: 'closed', openid: null }
  failure = new ApiError(403, 'registration_closed', '')
  await expect(signIn.register('alice', 'a good password')).rejects.toBe(failure)
  await vi.waitFor(() => expect(currentForm(store.state.signIn)).toBe('login'))
})
