import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Entrance, type Door } from '../src/app/sign-in'
import { Store } from '../src/app/store.svelte'
import { formOf } from '../src/state/sign-in'
import { ApiError } from '../src/api/http'
import type { Options, User } from '../src/api/resources'

const user: User = { id: 'user_1', username: 'alice', role: 'user' }

let store: Store
let offered: Options
let failure: ApiError | null
let sent: unknown[][]
let inside: User | null
let asked: number
let entrance: Entrance

async function answer<T>(value: T, ...what: unknown[]): Promise<T> {
  sent.push(what)
  if (failure !== null) throw failure
  return value
}

beforeEach(() => {
  vi.useFakeTimers()
  store = new Store()
  offered = { registration: 'closed', openid: null }
  failure = null
  sent = []
  inside = null
  asked = 0
  const door: Door = {
    options: async () => {
      asked++
      if (failure?.status === 503) throw failure
      return offered
    },
    login: (...what) => answer(user, 'login', ...what),
    register: (...what) => answer(user, 'register', ...what),
    reset: (...what) => answer(undefined, 'reset', ...what),
  }
  entrance = new Entrance(store, door, (opened) => (inside = opened))
})

afterEach(() => {
  vi.useRealTimers()
})

test('what the server offers is known after it was asked', async () => {
  offered = { registration: 'first', openid: null }
  await entrance.ask()
  expect(formOf(store.state.entry)).toBe('first')
})

test('two who ask at once ask once, and both wait for the answer', async () => {
  await Promise.all([entrance.ask(), entrance.ask()])
  expect(asked).toBe(1)
  expect(store.state.entry.options).toEqual(offered)
})

test('a server that does not know yet is asked until it does', async () => {
  failure = new ApiError(503, 'database_unavailable', '')
  await entrance.ask()
  expect(store.state.entry.options).toBeNull()
  await vi.advanceTimersByTimeAsync(5_000)
  failure = null
  await vi.advanceTimersByTimeAsync(20_000)
  expect(store.state.entry.options).toEqual(offered)
  const before = asked
  await vi.advanceTimersByTimeAsync(60_000)
  expect(asked).toBe(before)
})

test('an invite of the address is posted with the registration', async () => {
  expect(entrance.arrive('#invite=pi_1')).toBe(true)
  await entrance.register('alice', 'a good password')
  expect(sent).toEqual([['register', 'alice', 'a good password', 'pi_1']])
  expect(inside).toEqual(user)
})

test('without one nothing is said of an invite', async () => {
  expect(entrance.arrive('#elsewhere')).toBe(false)
  await entrance.register('alice', 'a good password')
  expect(sent).toEqual([['register', 'alice', 'a good password', null]])
})

test('a reset link is posted with the password, and log-in comes next', async () => {
  entrance.arrive('#reset=pr_1')
  await entrance.reset('a good password')
  expect(sent).toEqual([['reset', 'pr_1', 'a good password']])
  expect(formOf(store.state.entry)).toBe('login')
  expect(store.state.entry.remark).toBe('password_set')
  expect(inside).toBeNull()
})

test('a refused reset keeps its link for another try', async () => {
  entrance.arrive('#reset=pr_1')
  failure = new ApiError(400, 'unsuitable_password', '')
  await expect(entrance.reset('short')).rejects.toBe(failure)
  expect(formOf(store.state.entry)).toBe('reset')
})

test('who was not the first after all is shown the way that is left', async () => {
  offered = { registration: 'first', openid: null }
  await entrance.ask()
  offered = { registration: 'closed', openid: null }
  failure = new ApiError(403, 'registration_closed', '')
  await expect(entrance.register('alice', 'a good password')).rejects.toBe(failure)
  await vi.waitFor(() => expect(formOf(store.state.entry)).toBe('login'))
})
