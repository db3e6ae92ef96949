import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { History, type HistoryApi } from '../src/app/history'
import { Store } from '../src/app/store.svelte'
import { ApiError } from '../src/api/http'
import type { Item } from '../src/api/resources'
import { item } from './fixtures'

const question = item('msg_q', 'user', 'why?')
const answer = item('msg_a', 'assistant', 'Because.')

let store: Store
let stored: readonly Item[]
let active: readonly string[]
let title: string
let followed: string[]
let failure: Error | null
let requests: number
let expired: boolean
let history: History

async function respond<T>(value: () => T): Promise<T> {
  requests++
  if (failure !== null) throw failure
  return value()
}

beforeEach(() => {
  vi.useFakeTimers()
  store = new Store()
  stored = [question, answer]
  failure = null
  requests = 0
  expired = false
  active = []
  title = 'why?'
  followed = []
  const conversation = () => ({
    id: 'conv_1',
    created_at: 0,
    metadata: { title },
    active_responses: active,
  })
  const api: HistoryApi = {
    listConversations: () =>
      respond(() => ({ data: [conversation()], last_id: 'conv_1', has_more: false })),
    getConversation: () => respond(conversation),
    listAllItems: () => respond(() => stored),
  }
  history = new History(store, api, {
    responseRunning: (chat, response) => followed.push(`${chat} ${response}`),
    sessionExpired: () => (expired = true),
  })
  store.dispatch({ type: 'connection.opened' })
})

afterEach(() => {
  vi.useRealTimers()
})

test('a chat is loaded once, however often it is opened', async () => {
  await history.open('conv_1')
  await history.open('conv_1')
  expect(requests).toBe(2)
  expect(store.chat('conv_1').messages.map(({ text }) => text)).toEqual(['why?', 'Because.'])
})

test('a chat that failed to load is loaded again when it is opened again', async () => {
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
  await history.loadList()
  expect(expired).toBe(true)
  expect(store.state.sidebar.status).toBe('failed')
})

test('a running answer is followed', async () => {
  stored = [question]
  active = ['resp_1', 'resp_2']
  await history.open('conv_1')
  expect(followed).toEqual(['conv_1 resp_2'])
  expect(store.chat('conv_1').turn).toMatchObject({ phase: 'recovering', responseId: 'resp_2' })
})

test('the running answers of other chats are followed when the list loads', async () => {
  active = ['resp_1']
  await history.loadList()
  await vi.waitFor(() => expect(followed).toEqual(['conv_1 resp_1']))
})

test('a list without running answers opens no chat', async () => {
  await history.loadList()
  expect(requests).toBe(1)
})

test('a response marked as unavailable is not followed', async () => {
  stored = [question]
  active = ['resp_1']
  history.markUnavailable('resp_1')
  await history.open('conv_1')
  expect(followed).toEqual([])
})

test('an answer that ends between two requests is not missed', async () => {
  stored = [question]
  const reading = history.open('conv_1')
  stored = [question, answer]
  await reading
  expect(store.chat('conv_1').messages.map(({ text }) => text)).toEqual(['why?', 'Because.'])
})

test('a lost turn is recovered with retries until the server answers', async () => {
  failure = new ApiError(0, 'unreachable', '')
  store.dispatchToChat('conv_1', { type: 'message.submitted', message: 'message_1', text: 'why?' })
  store.dispatchToChat('conv_1', { type: 'turn.lost' })
  const recovering = history.recover('conv_1')
  await vi.advanceTimersByTimeAsync(10 * 60_000)
  expect(store.chat('conv_1').turn?.phase).toBe('recovering')
  failure = null
  await vi.advanceTimersByTimeAsync(20_000)
  await recovering
  expect(store.chat('conv_1')).toMatchObject({ turn: null, unanswered: false })
  expect(store.chat('conv_1').messages.at(-1)?.text).toBe('Because.')
})

test('the recovery of a turn ends if its conversation is missing', async () => {
  failure = new ApiError(404, 'not_found', '')
  store.dispatchToChat('conv_1', { type: 'message.submitted', message: 'message_1', text: 'why?' })
  store.dispatchToChat('conv_1', { type: 'turn.lost' })
  await history.recover('conv_1')
  expect(requests).toBe(2)
})

test('a recovery that failed unexpectedly can be started again', async () => {
  failure = new TypeError('not an answer')
  store.dispatchToChat('conv_1', { type: 'message.submitted', message: 'message_1', text: 'why?' })
  store.dispatchToChat('conv_1', { type: 'turn.lost' })
  await expect(history.recover('conv_1')).rejects.toBe(failure)
  failure = null
  await history.recover('conv_1')
  expect(store.chat('conv_1').turn).toBeNull()
})

test('the title is polled until the model has generated one', async () => {
  const titles = () => store.state.sidebar.entries.map((entry) => entry.title)
  const reading = history.pollTitle('conv_1')
  await vi.advanceTimersByTimeAsync(500)
  expect(titles()).toEqual(['why?'])
  title = 'On causes'
  await vi.advanceTimersByTimeAsync(2_000)
  await reading
  expect(titles()).toEqual(['On causes'])
  expect(requests).toBe(2)
})

test('the polling ends for a title that does not change', async () => {
  const reading = history.pollTitle('conv_1')
  await vi.advanceTimersByTimeAsync(60_000)
  await reading
  expect(requests).toBe(4)
})
