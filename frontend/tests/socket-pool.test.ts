import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { SocketPool } from '../src/api/socket-pool'
import { frames } from './golden'
import { FakeSockets } from './fake-socket'
import { completed, created, delta, refusal } from './fixtures'

let sockets: FakeSockets
let log: string[]

function createPool(): SocketPool {
  const listener = {
    opened: () => log.push('opened'),
    lost: (refused: boolean) => log.push(refused ? 'refused' : 'lost'),
    received: (chat: string, event: { type: string }) => log.push(`${chat}: ${event.type}`),
    turnLost: (chat: string) => log.push(`${chat} lost`),
    turnResumed: (chat: string) => log.push(`${chat} resumed`),
    resumeFailed: (chat: string) => log.push(`${chat} resume failed`),
  }
  return new SocketPool('ws://x', listener, sockets.connect)
}

beforeEach(() => {
  vi.useFakeTimers()
  sockets = new FakeSockets()
  log = []
})

afterEach(() => {
  vi.useRealTimers()
})

const ask = (pool: SocketPool, chat: string) =>
  pool.create(chat, { text: 'why?', clientMessageId: `id of ${chat}` })

const receive = (socket: number, event: object) =>
  sockets.all[socket]?.receive(JSON.stringify(event))

test('a turn is sent on the open socket', async () => {
  const pool = createPool()
  sockets.last.accept()
  expect(await ask(pool, 'conv_1')).toBe(true)
  expect(sockets.last.sent).toEqual([
    {
      type: 'response.create',
      conversation: 'conv_1',
      input: 'why?',
      metadata: { client_message_id: 'id of conv_1' },
      truncation: 'auto',
    },
  ])
})

test('a second turn does not wait for the first: it gets its own socket', async () => {
  const pool = createPool()
  sockets.last.accept()
  await ask(pool, 'conv_1')
  const second = ask(pool, 'conv_2')
  sockets.all[1]?.accept()
  expect(await second).toBe(true)
  receive(0, created)
  receive(1, created)
  receive(1, delta('x', 1))
  expect(log).toEqual([
    'opened',
    'opened',
    'conv_1: response.created',
    'conv_2: response.created',
    'conv_2: response.output_text.delta',
  ])
})

test('a socket is free again after its turn, and after a rejected one', async () => {
  const pool = createPool()
  sockets.last.accept()
  await ask(pool, 'conv_1')
  receive(0, created)
  receive(0, completed(1))
  await ask(pool, 'conv_2')
  receive(0, refusal('too_many_requests'))
  await ask(pool, 'conv_3')
  expect(sockets.all).toHaveLength(1)
})

test('a late error does not end a running turn', async () => {
  const pool = createPool()
  sockets.last.accept()
  await ask(pool, 'conv_1')
  receive(0, created)
  receive(0, refusal('not_found'))
  receive(0, delta('still here', 1))
  expect(log.at(-1)).toBe('conv_1: response.output_text.delta')
})

test('an extra socket is closed when it has been idle', async () => {
  const pool = createPool()
  sockets.last.accept()
  await ask(pool, 'conv_1')
  const second = ask(pool, 'conv_2')
  sockets.all[1]?.accept()
  await second
  for (const index of [0, 1]) {
    receive(index, created)
    receive(index, completed(1))
  }
  vi.advanceTimersByTime(30_000)
  expect(sockets.all.map(({ readyState }) => readyState)).toEqual([1, 3])
})

describe('a socket that is lost during a turn', () => {
  const back = () => vi.advanceTimersByTime(1_000)
  const url = () => sockets.last.url

  test('reconnects and resumes after the last event', async () => {
    const pool = createPool()
    sockets.last.accept()
    await ask(pool, 'conv_1')
    for (const frame of frames('text').slice(0, 6)) sockets.last.receive(frame)
    sockets.last.drop()
    back()
    expect(url()).toBe('ws://x?resume=resp_00000000000000000000000000000001&starting_after=5')
    sockets.last.accept()
    for (const frame of frames('text').slice(6)) sockets.last.receive(frame)
    expect(log.filter((entry) => !entry.includes(': '))).toEqual([
      'opened',
      'conv_1 lost',
      'lost',
      'opened',
      'conv_1 resumed',
    ])
    expect(log.at(-1)).toBe('conv_1: response.completed')
    expect(pool.isFollowing('conv_1')).toBe(false)
  })

  test('is reused after the turn', async () => {
    const pool = createPool()
    sockets.last.accept()
    await ask(pool, 'conv_1')
    receive(0, created)
    sockets.last.drop()
    back()
    sockets.last.accept()
    receive(1, completed(1))
    await ask(pool, 'conv_2')
    expect(sockets.all).toHaveLength(2)
    sockets.last.drop()
    back()
    expect(url()).toBe('ws://x')
  })

  test('reconnects also if it is an extra one', async () => {
    const pool = createPool()
    sockets.last.accept()
    await ask(pool, 'conv_1')
    const second = ask(pool, 'conv_2')
    sockets.last.accept()
    await second
    receive(1, created)
    sockets.last.drop()
    back()
    expect(url()).toBe('ws://x?resume=resp_1&starting_after=0')
    // The page is still connected: its other socket is open.
    expect(log).not.toContain('lost')
  })

  test.each(['not_found', 'events_expired'])('does not retry after %s', async (code) => {
    const pool = createPool()
    sockets.last.accept()
    await ask(pool, 'conv_1')
    receive(0, created)
    sockets.last.drop()
    back()
    sockets.last.accept()
    receive(1, refusal(code, 404))
    expect(log.at(-1)).toBe('conv_1 resume failed')
    expect(pool.isFollowing('conv_1')).toBe(false)
  })

  test('retries when the server is not ready to resume', async () => {
    const pool = createPool()
    sockets.last.accept()
    await ask(pool, 'conv_1')
    receive(0, created)
    sockets.last.drop()
    back()
    sockets.last.accept()
    receive(1, refusal('service_unavailable', 503))
    vi.advanceTimersByTime(20_000)
    expect(sockets.all).toHaveLength(3)
    expect(url()).toBe('ws://x?resume=resp_1&starting_after=0')
  })

  test('has nothing to resume before the response has an id', async () => {
    const pool = createPool()
    sockets.last.accept()
    await ask(pool, 'conv_1')
    sockets.last.drop()
    expect(log).toEqual(['opened', 'conv_1 resume failed', 'lost'])
    back()
    expect(url()).toBe('ws://x')
  })

  test('may die without a close event: the silence timeout detects it', async () => {
    const pool = createPool()
    sockets.last.accept()
    await ask(pool, 'conv_1')
    receive(0, created)
    vi.advanceTimersByTime(14_000)
    receive(0, delta('x', 1))
    vi.advanceTimersByTime(14_000)
    expect(sockets.all).toHaveLength(1)
    vi.advanceTimersByTime(2_000)
    expect(url()).toBe('ws://x?resume=resp_1&starting_after=1')
  })
})

describe('the sequence numbers', () => {
  test('a duplicate event is not delivered again', async () => {
    const pool = createPool()
    sockets.last.accept()
    await ask(pool, 'conv_1')
    for (const event of [created, delta('a', 1), delta('a', 1), created, delta('b', 2)])
      receive(0, event)
    expect(log).toEqual([
      'opened',
      'conv_1: response.created',
      'conv_1: response.output_text.delta',
      'conv_1: response.output_text.delta',
    ])
  })

  test('a gap makes the socket resume after the last event', async () => {
    const pool = createPool()
    sockets.last.accept()
    await ask(pool, 'conv_1')
    receive(0, created)
    receive(0, delta('b', 2))
    expect(log.slice(2)).toEqual(['conv_1 lost', 'lost'])
    vi.advanceTimersByTime(400)
    expect(sockets.last.url).toBe('ws://x?resume=resp_1&starting_after=0')
  })

  test('an unknown event counts, and is not delivered', async () => {
    const pool = createPool()
    sockets.last.accept()
    await ask(pool, 'conv_1')
    receive(0, created)
    receive(0, { type: 'response.new_thing', sequence_number: 1 })
    receive(0, delta('x', 2))
    expect(log.slice(1)).toEqual(['conv_1: response.created', 'conv_1: response.output_text.delta'])
  })
})

describe('a turn that is already running', () => {
  test('is followed from its first event, on its own socket', () => {
    const pool = createPool()
    sockets.last.accept()
    pool.follow('conv_1', 'resp_00000000000000000000000000000001')
    pool.follow('conv_1', 'resp_00000000000000000000000000000001')
    expect(sockets.all.map(({ url }) => url)).toEqual([
      'ws://x',
      'ws://x?resume=resp_00000000000000000000000000000001',
    ])
    sockets.last.accept()
    for (const frame of frames('stopped')) sockets.last.receive(frame)
    expect(log.slice(0, 4)).toEqual([
      'opened',
      'opened',
      'conv_1 resumed',
      'conv_1: response.created',
    ])
    expect(log.at(-1)).toBe('conv_1: response.incomplete')
  })

  test('can be stopped on that socket', () => {
    const pool = createPool()
    pool.follow('conv_1', 'resp_1')
    expect(pool.cancel('conv_1', 'resp_1')).toBe(false)
    sockets.last.accept()
    expect(pool.cancel('conv_1', 'resp_1')).toBe(true)
    expect(sockets.last.sent).toEqual([{ type: 'response.cancel', response_id: 'resp_1' }])
  })

  test('whose events have expired is reported as failed to resume', () => {
    const pool = createPool()
    pool.follow('conv_1', 'resp_1')
    sockets.last.accept()
    sockets.last.receive(frames('resumed-too-late')[0]!)
    expect(log.at(-1)).toBe('conv_1 resume failed')
  })
})

describe('an idle socket that the server closes', () => {
  test('is not reported as lost, and connects for the next question', async () => {
    const pool = createPool()
    sockets.last.accept()
    sockets.last.close(1000)
    vi.advanceTimersByTime(60_000)
    expect(sockets.all).toHaveLength(1)
    const asking = ask(pool, 'conv_1')
    sockets.last.accept()
    expect(await asking).toBe(true)
    expect(log).toEqual(['opened', 'opened'])
  })

  test('connects when the user starts to type', () => {
    const pool = createPool()
    sockets.last.accept()
    sockets.last.close(1000)
    pool.connectIfIdle()
    expect(sockets.all).toHaveLength(2)
  })

  test('because of its age recovers the turn in progress', async () => {
    const pool = createPool()
    sockets.last.accept()
    await ask(pool, 'conv_1')
    sockets.last.receive(frames('connection-limit')[0]!)
    expect(log).toEqual(['opened'])
    sockets.last.close(1000)
    expect(log).toContain('conv_1 resume failed')
  })
})

test('a turn without an open socket in time is not started', async () => {
  const pool = createPool()
  const creating = ask(pool, 'conv_1')
  await vi.advanceTimersByTimeAsync(6000)
  expect(await creating).toBe(false)
})

test('a stop is sent on the socket of its turn', async () => {
  const pool = createPool()
  sockets.last.accept()
  await ask(pool, 'conv_1')
  pool.cancel('conv_1', 'resp_1')
  pool.cancel('conv_2', 'resp_2')
  expect(sockets.last.sent.slice(1)).toEqual([{ type: 'response.cancel', response_id: 'resp_1' }])
})
