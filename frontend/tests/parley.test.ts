import { afterEach, expect, test, vi } from 'vitest'
import { Parley } from '../src/app/parley'

afterEach(() => {
  vi.unstubAllGlobals()
})

function openSession(fetch: () => Promise<Response | null>): Parley {
  const parley = new Parley()
  const user = { id: 'user_1', username: 'ada', role: 'user' }
  parley.store.dispatch({ type: 'session.opened', user, drafts: {} })
  vi.stubGlobal('fetch', fetch)
  return parley
}

test('the check of a session leaves it open while the server is away', async () => {
  const parley = openSession(() => Promise.reject(new TypeError('no connection')))
  await parley.checkSession()
  expect(parley.store.state.session).toBe('in')
})

test('the check of a session does not hide an error of the page itself', async () => {
  const parley = openSession(async () => null)
  await expect(parley.checkSession()).rejects.toBeInstanceOf(TypeError)
})
