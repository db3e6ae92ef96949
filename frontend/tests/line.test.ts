import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Line, type LineListener } from '../src/wire/line'
import { FakeSockets } from './sockets'

let sockets: FakeSockets
let heard: string[]

const listener: LineListener = {
  opened: () => heard.push('opened'),
  lost: (_, refused) => heard.push(refused ? 'refused' : 'lost'),
  received: (_, event) => heard.push(event.type),
}

const dial = (lasting = true) =>
  new Line({ url: 'ws://x', lasting, connect: sockets.connect }, listener)

beforeEach(() => {
  vi.useFakeTimers()
  sockets = new FakeSockets()
  heard = []
})

afterEach(() => {
  vi.useRealTimers()
})

test('a lasting line comes back for ever', () => {
  dial()
  for (let attempt = 0; attempt < 100; attempt++) {
    sockets.last.drop()
    vi.advanceTimersByTime(20_000)
  }
  expect(sockets.all).toHaveLength(101)
})

test('a line that was never open is refused, one that was is lost', () => {
  dial()
  sockets.last.drop()
  vi.advanceTimersByTime(20_000)
  sockets.last.accept()
  sockets.last.drop()
  expect(heard).toEqual(['refused', 'opened', 'lost'])
})

test('a line for one turn does not come back', () => {
  dial(false)
  sockets.last.drop()
  vi.advanceTimersByTime(60_000)
  expect(sockets.all).toHaveLength(1)
})

test('sending on a line that is not open says so', () => {
  const line = dial()
  expect(line.send({ type: 'x' })).toBe(false)
  sockets.last.accept()
  expect(line.send({ type: 'x' })).toBe(true)
  expect(sockets.last.sent).toEqual([{ type: 'x' }])
})

test('whoever waits for a line learns when it opens', async () => {
  const ready = dial().ready(5000)
  sockets.last.accept()
  expect(await ready).toBe(true)
})

test('whoever waits for a line learns when patience is over', async () => {
  const ready = dial().ready(5000)
  vi.advanceTimersByTime(5000)
  expect(await ready).toBe(false)
})

test('a page that becomes visible again does not wait out the pause', () => {
  const line = dial()
  for (let attempt = 0; attempt < 8; attempt++) {
    sockets.last.drop()
    vi.advanceTimersByTime(20_000)
  }
  sockets.last.drop()
  const before = sockets.all.length
  line.hurry()
  expect(sockets.all).toHaveLength(before + 1)
})

test('a closed line stays closed and silent', () => {
  const line = dial()
  sockets.last.accept()
  line.close()
  vi.advanceTimersByTime(60_000)
  expect(sockets.all).toHaveLength(1)
  expect(heard).toEqual(['opened'])
})

test('frames it does not know are passed over', () => {
  dial()
  sockets.last.accept()
  for (const frame of ['no json', 'null', '[]', '{"type":"response.new_thing"}'])
    sockets.last.say(frame)
  sockets.last.say('{"type":"response.created","sequence_number":0,"response":{"id":"resp_1"}}')
  expect(heard).toEqual(['opened', 'response.created'])
})
