import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import {
  ReconnectingSocket,
  type SocketListener,
  type CloseReason,
} from '../src/api/reconnecting-socket'
import { FakeSockets } from './fake-socket'

let sockets: FakeSockets
let log: string[]
let connections: number

function open(reconnects: (reason: CloseReason) => boolean = () => true): ReconnectingSocket {
  const listener: SocketListener = {
    opened: () => log.push('opened'),
    closed: (_, reason) => {
      log.push(reason)
      return reconnects(reason)
    },
    received: (_, event) => log.push(event.type),
  }
  const socket = new ReconnectingSocket(
    { url: () => `ws://x?${connections++}`, connect: sockets.connect },
    listener,
  )
  socket.connectNow()
  return socket
}

beforeEach(() => {
  vi.useFakeTimers()
  sockets = new FakeSockets()
  log = []
  connections = 0
})

afterEach(() => {
  vi.useRealTimers()
})

test('reconnects forever', () => {
  open()
  for (let attempt = 0; attempt < 100; attempt++) {
    sockets.last.drop()
    vi.advanceTimersByTime(20_000)
  }
  expect(sockets.all).toHaveLength(101)
})

test('reports a connection that never opened as refused, and one that did as dropped', () => {
  open()
  sockets.last.drop()
  vi.advanceTimersByTime(20_000)
  sockets.last.accept()
  sockets.last.drop()
  expect(log).toEqual(['refused', 'opened', 'dropped'])
})

test('stays closed until it is needed, if the listener asks for it', async () => {
  const socket = open((reason) => reason !== 'idle')
  sockets.last.accept()
  sockets.last.close(1000)
  vi.advanceTimersByTime(60_000)
  expect(sockets.all).toHaveLength(1)
  const isOpen = socket.waitUntilOpen(5000)
  sockets.last.accept()
  expect(await isOpen).toBe(true)
  expect(log).toEqual(['opened', 'idle', 'opened'])
})

test('connectIfIdle connects an idle socket, and does not cut a backoff delay short', () => {
  const socket = open((reason) => reason !== 'idle')
  sockets.last.accept()
  sockets.last.close(1000)
  socket.connectIfIdle()
  expect(sockets.all).toHaveLength(2)
  sockets.last.drop()
  socket.connectIfIdle()
  expect(sockets.all).toHaveLength(2)
})

test('computes the URL for each connection', () => {
  open()
  sockets.last.drop()
  vi.advanceTimersByTime(20_000)
  expect(sockets.all.map(({ url }) => url)).toEqual(['ws://x?0', 'ws://x?1'])
})

test('a connection that breaks at once does not reset the backoff', () => {
  open()
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

test('a stable connection resets the backoff', () => {
  open()
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

test('after reconnect, the old connection is ignored', () => {
  const socket = open()
  const old = sockets.last
  old.accept()
  socket.reconnect()
  expect(old.readyState).toBe(3)
  vi.advanceTimersByTime(400)
  sockets.last.accept()
  old.receive('{"type":"response.created","sequence_number":0,"response":{"id":"resp_1"}}')
  expect(log).toEqual(['opened', 'dropped', 'opened'])
})

test('send returns false while the socket is not open', () => {
  const socket = open()
  expect(socket.send({ type: 'x' })).toBe(false)
  sockets.last.accept()
  expect(socket.send({ type: 'x' })).toBe(true)
  expect(sockets.last.sent).toEqual([{ type: 'x' }])
})

test('waitUntilOpen resolves when the socket opens', async () => {
  const isOpen = open().waitUntilOpen(5000)
  sockets.last.accept()
  expect(await isOpen).toBe(true)
})

test('waitUntilOpen resolves after its timeout', async () => {
  const isOpen = open().waitUntilOpen(5000)
  vi.advanceTimersByTime(5000)
  expect(await isOpen).toBe(false)
})

test('connectNow cuts a backoff delay short', () => {
  const socket = open()
  for (let attempt = 0; attempt < 8; attempt++) {
    sockets.last.drop()
    vi.advanceTimersByTime(20_000)
  }
  sockets.last.drop()
  const before = sockets.all.length
  socket.connectNow()
  expect(sockets.all).toHaveLength(before + 1)
})

test('a closed socket stays closed and reports nothing', () => {
  const socket = open()
  sockets.last.accept()
  socket.close()
  vi.advanceTimersByTime(60_000)
  expect(sockets.all).toHaveLength(1)
  expect(log).toEqual(['opened'])
})

test('ignores a frame that is not an event, and delivers an unknown event', () => {
  open()
  sockets.last.accept()
  for (const frame of ['no json', 'null', '[]', '7', '{"type":7}', '{"type":"response.new_thing"}'])
    sockets.last.receive(frame)
  sockets.last.receive('{"type":"response.created","sequence_number":0,"response":{"id":"resp_1"}}')
  expect(log).toEqual(['opened', 'other', 'response.created'])
})
