import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Line, type LineListener, type Loss } from '../src/api/reconnecting-socket'
import { FakeSockets } from './fake-socket'

let sockets: FakeSockets
let heard: string[]
let dialled: number

function dial(comesBack: (loss: Loss) => boolean = () => true): Line {
  const listener: LineListener = {
    opened: () => heard.push('opened'),
    lost: (_, loss) => {
      heard.push(loss)
      return comesBack(loss)
    },
    received: (_, event) => heard.push(event.type),
  }
  const line = new Line(
    { address: () => `ws://x?${dialled++}`, connect: sockets.connect },
    listener,
  )
  line.hurry()
  return line
}

beforeEach(() => {
  vi.useFakeTimers()
  sockets = new FakeSockets()
  heard = []
  dialled = 0
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

test('a line that was never open is refused, one that was is dropped', () => {
  dial()
  sockets.last.drop()
  vi.advanceTimersByTime(20_000)
  sockets.last.accept()
  sockets.last.drop()
  expect(heard).toEqual(['refused', 'opened', 'dropped'])
})

test('a line that nobody wants back rests until somebody needs it', async () => {
  const line = dial((loss) => loss !== 'idle')
  sockets.last.accept()
  sockets.last.close(1000)
  vi.advanceTimersByTime(60_000)
  expect(sockets.all).toHaveLength(1)
  const ready = line.ready(5000)
  sockets.last.accept()
  expect(await ready).toBe(true)
  expect(heard).toEqual(['opened', 'idle', 'opened'])
})

test('a line at rest is woken, one that waits after a loss is not hurried by it', () => {
  const line = dial((loss) => loss !== 'idle')
  sockets.last.accept()
  sockets.last.close(1000)
  line.wake()
  expect(sockets.all).toHaveLength(2)
  sockets.last.drop()
  line.wake()
  expect(sockets.all).toHaveLength(2)
})

test('each time the address is asked for anew', () => {
  dial()
  sockets.last.drop()
  vi.advanceTimersByTime(20_000)
  expect(sockets.all.map(({ url }) => url)).toEqual(['ws://x?0', 'ws://x?1'])
})

test('a line that opens and breaks at once does not hammer at the server', () => {
  dial()
  for (let attempt = 0; attempt < 8; attempt++) {
    sockets.last.accept()
    sockets.last.drop()
    vi.advanceTimersByTime(20_000)
  }
  const before = sockets.all.length
  sockets.last.accept()
  sockets.last.drop()
  vi.advanceTimersByTime(5_000)
  expect(sockets.all).toHaveLength(before)
})

test('a line that held for a while comes back soon', () => {
  dial()
  for (let attempt = 0; attempt < 8; attempt++) {
    sockets.last.drop()
    vi.advanceTimersByTime(20_000)
  }
  sockets.last.accept()
  vi.advanceTimersByTime(60_000)
  const before = sockets.all.length
  sockets.last.drop()
  vi.advanceTimersByTime(400)
  expect(sockets.all).toHaveLength(before + 1)
})

test('a renewed line has nothing more to do with its old socket', () => {
  const line = dial()
  const old = sockets.last
  old.accept()
  line.renew()
  expect(old.readyState).toBe(3)
  vi.advanceTimersByTime(400)
  sockets.last.accept()
  old.say('{"type":"response.created","sequence_number":0,"response":{"id":"resp_1"}}')
  expect(heard).toEqual(['opened', 'dropped', 'opened'])
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

test('a frame that is no event is passed over, an event it does not know counts', () => {
  dial()
  sockets.last.accept()
  for (const frame of ['no json', 'null', '[]', '7', '{"type":7}', '{"type":"response.new_thing"}'])
    sockets.last.say(frame)
  sockets.last.say('{"type":"response.created","sequence_number":0,"response":{"id":"resp_1"}}')
  expect(heard).toEqual(['opened', 'other', 'response.created'])
})
