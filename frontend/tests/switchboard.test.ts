import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Switchboard } from '../src/wire/switchboard'
import { FakeSockets } from './sockets'
import { completed, created, delta, refusal } from './wire'

let sockets: FakeSockets
let heard: string[]

function board(): Switchboard {
  const listener = {
    opened: () => heard.push('opened'),
    lost: (refused: boolean) => heard.push(refused ? 'refused' : 'lost'),
    received: (chat: string, event: { type: string }) => heard.push(`${chat}: ${event.type}`),
    turnLost: (chat: string) => heard.push(`${chat} lost`),
  }
  return new Switchboard('ws://x', listener, sockets.connect)
}

beforeEach(() => {
  vi.useFakeTimers()
  sockets = new FakeSockets()
  heard = []
})

afterEach(() => {
  vi.useRealTimers()
})

const say = (socket: number, event: object) => sockets.all[socket]?.say(JSON.stringify(event))

test('a turn goes out on the open line', async () => {
  const lines = board()
  sockets.last.accept()
  expect(await lines.create('conv_1', 'why?')).toBe(true)
  expect(sockets.last.sent).toEqual([
    { type: 'response.create', conversation: 'conv_1', input: 'why?', truncation: 'auto' },
  ])
})

test('a second turn does not wait for the first: it gets a line of its own', async () => {
  const lines = board()
  sockets.last.accept()
  await lines.create('conv_1', 'a')
  const second = lines.create('conv_2', 'b')
  sockets.all[1]?.accept()
  expect(await second).toBe(true)
  say(0, created)
  say(1, created)
  say(1, delta('x'))
  expect(heard).toEqual([
    'opened',
    'conv_1: response.created',
    'conv_2: response.created',
    'conv_2: response.output_text.delta',
  ])
})

test('a line is free again after its turn, and after a refusal', async () => {
  const lines = board()
  sockets.last.accept()
  await lines.create('conv_1', 'a')
  say(0, created)
  say(0, completed())
  await lines.create('conv_2', 'b')
  say(0, refusal('too_many_requests'))
  await lines.create('conv_3', 'c')
  expect(sockets.all).toHaveLength(1)
})

test('a late error does not end a running turn', async () => {
  const lines = board()
  sockets.last.accept()
  await lines.create('conv_1', 'a')
  say(0, created)
  say(0, refusal('not_found'))
  say(0, delta('still here'))
  expect(heard.at(-1)).toBe('conv_1: response.output_text.delta')
})

test('a further line is given up when it has been idle', async () => {
  const lines = board()
  sockets.last.accept()
  await lines.create('conv_1', 'a')
  const second = lines.create('conv_2', 'b')
  sockets.all[1]?.accept()
  await second
  say(1, created)
  say(1, completed())
  vi.advanceTimersByTime(30_000)
  expect(sockets.all.map(({ readyState }) => readyState)).toEqual([1, 3])
})

test('a drop tells which turn it hit', async () => {
  const lines = board()
  sockets.last.accept()
  await lines.create('conv_1', 'a')
  say(0, created)
  sockets.last.drop()
  expect(heard).toEqual(['opened', 'conv_1: response.created', 'conv_1 lost', 'lost'])
})

test('a turn that finds no line in time was not started', async () => {
  const lines = board()
  const creating = lines.create('conv_1', 'a')
  await vi.advanceTimersByTimeAsync(6000)
  expect(await creating).toBe(false)
})

test('a stop goes out on the line of its turn', async () => {
  const lines = board()
  sockets.last.accept()
  await lines.create('conv_1', 'a')
  lines.cancel('conv_1', 'resp_1')
  lines.cancel('conv_2', 'resp_2')
  expect(sockets.last.sent.slice(1)).toEqual([{ type: 'response.cancel', response_id: 'resp_1' }])
})
