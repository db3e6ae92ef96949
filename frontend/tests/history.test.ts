import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { History, type Memory } from '../src/app/history'
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
  active = []
  title = 'why?'
  followed = []
  const conversation = () => ({
    id: 'conv_1',
    created_at: 0,
    metadata: { title },
    active_responses: active,
  })
  const memory: Memory = {
    conversations: () =>
      answering(() => ({ data: [conversation()], last_id: 'conv_1', has_more: false })),
    conversation: () => answering(conversation),
    allItems: () => answering(() => stored),
  }
  history = new History(store, memory, {
    running: (chat, response) => followed.push(`${chat} ${response}`),
    expired: () => (expired = true),
  })
  store.dispatch({ type: 'connection.opened' })
})

afterEach(() => {
  vi.useRealTimers()
})

test('a chat is read once, however often it is opened', async () => {
  await history.open('conv_1')
  await history.open('conv_1')
  expect(reads).toBe(2)
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

test('an answer that is being written is followed', async () => {
  stored = [question]
  active = ['resp_1', 'resp_2']
  await history.open('conv_1')
  expect(followed).toEqual(['conv_1 resp_2'])
  expect(store.chat('conv_1').turn).toMatchObject({ phase: 'recovering', responseId: 'resp_2' })
})

test('the answers of other chats are followed as soon as the list tells of them', async () => {
  active = ['resp_1']
  await history.list()
  await vi.waitFor(() => expect(followed).toEqual(['conv_1 resp_1']))
})

test('a list without running answers opens no chat', async () => {
  await history.list()
  expect(reads).toBe(1)
})

test('what the server has forgotten is not followed again', async () => {
  stored = [question]
  active = ['resp_1']
  history.forget('resp_1')
  await history.open('conv_1')
  expect(followed).toEqual([])
})

test('an answer that ends between two reads is not missed', async () => {
  stored = [question]
  const reading = history.open('conv_1')
  stored = [question, answer]
  await reading
  expect(store.chat('conv_1').messages.map(({ text }) => text)).toEqual(['why?', 'Because.'])
})

test('a lost turn is asked after until the server answers', async () => {
  failure = new ApiError(0, 'unreachable', '')
  store.inChat('conv_1', { type: 'message.submitted', message: 'message_1', text: 'why?' })
  store.inChat('conv_1', { type: 'turn.lost' })
  const recovering = history.recover('conv_1')
  await vi.advanceTimersByTimeAsync(10 * 60_000)
  expect(store.chat('conv_1').turn?.phase).toBe('recovering')
  failure = null
  await vi.advanceTimersByTimeAsync(20_000)
  await recovering
  expect(store.chat('conv_1')).toMatchObject({ turn: null, unanswered: false })
  expect(store.chat('conv_1').messages.at(-1)?.text).toBe('Because.')
})

test('a turn whose conversation is gone is not asked after for ever', async () => {
  failure = new ApiError(404, 'not_found', '')
  store.inChat('conv_1', { type: 'message.submitted', message: 'message_1', text: 'why?' })
  store.inChat('conv_1', { type: 'turn.lost' })
  await history.recover('conv_1')
  expect(reads).toBe(2)
})

test('the title is read until the model has made one', async () => {
  const titles = () => store.state.sidebar.entries.map((entry) => entry.title)
  const reading = history.titled('conv_1')
  await vi.advanceTimersByTimeAsync(500)
  expect(titles()).toEqual(['why?'])
  title = 'On causes'
  await vi.advanceTimersByTimeAsync(2_000)
  await reading
  expect(titles()).toEqual(['On causes'])
  expect(reads).toBe(2)
})

test('a title that stays as it is is not read for ever', async () => {
  const reading = history.titled('conv_1')
  await vi.advanceTimersByTimeAsync(60_000)
  await reading
  expect(reads).toBe(4)
})
