import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { History, type Memory } from '../src/app/history'
import { Store } from '../src/app/store.svelte'
import { ApiError } from '../src/wire/api'
import type { Item } from '../src/wire/resource'
import { item } from './wire'

const question = item('msg_q', 'user', 'why?')
const answer = item('msg_a', 'assistant', 'Because.')

let store: Store
let stored: readonly Item[]
let failure: ApiError | null
let reads: number
let expired: boolean
let history: History

async function answering<T>(value: () => T): Promise<T> {
  reads++
  if (failure !== null) throw failure
  return value()
}

beforeEach(() => {
  vi.useFakeTimers()
  store = new Store()
  stored = [question, answer]
  failure = null
  reads = 0
  expired = false
  const conversation = { id: 'conv_1', created_at: 0, metadata: { title: 'why?' } }
  const memory: Memory = {
    conversations: () =>
      answering(() => ({ data: [conversation], last_id: 'conv_1', has_more: false })),
    conversation: () => answering(() => conversation),
    allItems: () => answering(() => stored),
  }
  history = new History(store, memory, () => (expired = true))
  store.dispatch({ type: 'connection.opened' })
})

afterEach(() => {
  vi.useRealTimers()
})

test('a chat is read once, however often it is opened', async () => {
  await history.open('conv_1')
  await history.open('conv_1')
  expect(reads).toBe(1)
  expect(store.chat('conv_1').messages.map(({ text }) => text)).toEqual(['why?', 'Because.'])
})

test('a chat that could not be read is read again when opened again', async () => {
  failure = new ApiError(0, 'unreachable', '')
  await history.open('conv_1')
  expect(store.chat('conv_1').history).toBe('failed')
  failure = null
  await history.open('conv_1')
  expect(store.chat('conv_1').history).toBe('ready')
})

test('a chat that does not exist is missing', async () => {
  failure = new ApiError(404, 'not_found', '')
  await history.open('conv_1')
  expect(store.chat('conv_1').history).toBe('missing')
})

test('an expired session is noticed', async () => {
  failure = new ApiError(401, 'invalid_api_key', '')
  await history.list()
  expect(expired).toBe(true)
  expect(store.state.sidebar.status).toBe('failed')
})

test('a lost answer is asked for until it is there', async () => {
  stored = [question]
  store.inChat('conv_1', { type: 'turn.awaited' })
  const recovering = history.recover('conv_1')
  await vi.advanceTimersByTimeAsync(4000)
  expect(store.chat('conv_1').turn?.phase).toBe('recovering')
  stored = [question, answer]
  await vi.advanceTimersByTimeAsync(10_000)
  await recovering
  expect(store.chat('conv_1')).toMatchObject({ turn: null, unanswered: false })
  expect(store.chat('conv_1').messages.at(-1)?.text).toBe('Because.')
})

test('an answer that never comes is given up', async () => {
  stored = [question]
  store.inChat('conv_1', { type: 'turn.awaited' })
  const recovering = history.recover('conv_1')
  await vi.advanceTimersByTimeAsync(10 * 60_000)
  await recovering
  expect(store.chat('conv_1')).toMatchObject({ turn: null, unanswered: true })
})

test('while the connection is away nothing is given up', async () => {
  failure = new ApiError(0, 'unreachable', '')
  store.inChat('conv_1', { type: 'turn.awaited' })
  store.dispatch({ type: 'connection.lost' })
  const recovering = history.recover('conv_1')
  await vi.advanceTimersByTimeAsync(10 * 60_000)
  await recovering
  expect(store.chat('conv_1').turn?.phase).toBe('recovering')
})
