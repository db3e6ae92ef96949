import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Switchboard } from '../src/api/socket-pool'
import { frames } from './golden'
import { FakeSockets } from './fake-socket'
import { completed, created, delta, refusal } from './fixtures'

let sockets: FakeSockets
let heard: string[]

function board(): Switchboard {
  const listener = {
    opened: () => heard.push('opened'),
    lost: (refused: boolean) => heard.push(refused ? 'refused' : 'lost'),
    received: (chat: string, event: { type: string }) => heard.push(`${chat}: ${event.type}`),
    turnLost: (chat: string) => heard.push(`${chat} lost`),
    turnResumed: (chat: string) => heard.push(`${chat} resumed`),
    turnGone: (chat: string) => heard.push(`${chat} gone`),
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

const ask = (lines: Switchboard, chat: string) =>
  lines.create(chat, { text: 'why?', clientMessageId: `id of ${chat}` })

const say = (socket: number, event: object) => sockets.all[socket]?.say(JSON.stringify(event))

test('a turn goes out on the open line', async () => {
  const lines = board()
  sockets.last.accept()
  expect(await ask(lines, 'conv_1')).toBe(true)
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

test('a second turn does not wait for the first: it gets a line of its own', async () => {
  const lines = board()
  sockets.last.accept()
  await ask(lines, 'conv_1')
  const second = ask(lines, 'conv_2')
  sockets.all[1]?.accept()
  expect(await second).toBe(true)
  say(0, created)
  say(1, created)
  say(1, delta('x', 1))
  expect(heard).toEqual([
    'opened',
    'opened',
    'conv_1: response.created',
    'conv_2: response.created',
    'conv_2: response.output_text.delta',
  ])
})

test('a line is free again after its turn, and after a refusal', async () => {
  const lines = board()
  sockets.last.accept()
  await ask(lines, 'conv_1')
  say(0, created)
  say(0, completed(1))
  await ask(lines, 'conv_2')
  say(0, refusal('too_many_requests'))
  await ask(lines, 'conv_3')
  expect(sockets.all).toHaveLength(1)
})

test('a late error does not end a running turn', async () => {
  const lines = board()
  sockets.last.accept()
  await ask(lines, 'conv_1')
  say(0, created)
  say(0, refusal('not_found'))
  say(0, delta('still here', 1))
  expect(heard.at(-1)).toBe('conv_1: response.output_text.delta')
})

test('a further line is given up when it has been idle', async () => {
  const lines = board()
  sockets.last.accept()
  await ask(lines, 'conv_1')
  const second = ask(lines, 'conv_2')
  sockets.all[1]?.accept()
  await second
  for (const line of [0, 1]) {
    say(line, created)
    say(line, completed(1))
  }
  vi.advanceTimersByTime(30_000)
  expect(sockets.all.map(({ readyState }) => readyState)).toEqual([1, 3])
})

describe('a line that is lost under a turn', () => {
  const back = () => vi.advanceTimersByTime(1_000)
  const url = () => sockets.last.url

  test('comes back and goes on behind the last event', async () => {
    const lines = board()
    sockets.last.accept()
    await ask(lines, 'conv_1')
    for (const frame of frames('text').slice(0, 6)) sockets.last.say(frame)
    sockets.last.drop()
    back()
    expect(url()).toBe('ws://x?resume=resp_00000000000000000000000000000001&starting_after=5')
    sockets.last.accept()
    for (const frame of frames('text').slice(6)) sockets.last.say(frame)
    expect(heard.filter((line) => !line.includes(': '))).toEqual([
      'opened',
      'conv_1 lost',
      'lost',
      'opened',
      'conv_1 resumed',
    ])
    expect(heard.at(-1)).toBe('conv_1: response.completed')
    expect(lines.follows('conv_1')).toBe(false)
  })

  test('is then a line like any other', async () => {
    const lines = board()
    sockets.last.accept()
    await ask(lines, 'conv_1')
    say(0, created)
    sockets.last.drop()
    back()
    sockets.last.accept()
    say(1, completed(1))
    await ask(lines, 'conv_2')
    expect(sockets.all).toHaveLength(2)
    sockets.last.drop()
    back()
    expect(url()).toBe('ws://x')
  })

  test('comes back also if it is a further one', async () => {
    const lines = board()
    sockets.last.accept()
    await ask(lines, 'conv_1')
    const second = ask(lines, 'conv_2')
    sockets.last.accept()
    await second
    say(1, created)
    sockets.last.drop()
    back()
    expect(url()).toBe('ws://x?resume=resp_1&starting_after=0')
    // The page is not cut off: its other line is up.
    expect(heard).not.toContain('lost')
  })

  test.each(['not_found', 'events_expired'])('does not try again after %s', async (code) => {
    const lines = board()
    sockets.last.accept()
    await ask(lines, 'conv_1')
    say(0, created)
    sockets.last.drop()
    back()
    sockets.last.accept()
    say(1, refusal(code, 404))
    expect(heard.at(-1)).toBe('conv_1 gone')
    expect(lines.follows('conv_1')).toBe(false)
  })

  test('tries again when the server is not ready to resume', async () => {
    const lines = board()
    sockets.last.accept()
    await ask(lines, 'conv_1')
    say(0, created)
    sockets.last.drop()
    back()
    sockets.last.accept()
    say(1, refusal('service_unavailable', 503))
    vi.advanceTimersByTime(20_000)
    expect(sockets.all).toHaveLength(3)
    expect(url()).toBe('ws://x?resume=resp_1&starting_after=0')
  })

  test('has nothing to resume before the response has a name', async () => {
    const lines = board()
    sockets.last.accept()
    await ask(lines, 'conv_1')
    sockets.last.drop()
    expect(heard).toEqual(['opened', 'conv_1 gone', 'lost'])
    back()
    expect(url()).toBe('ws://x')
  })

  test('may be lost without knowing: silence tells', async () => {
    const lines = board()
    sockets.last.accept()
    await ask(lines, 'conv_1')
    say(0, created)
    vi.advanceTimersByTime(14_000)
    say(0, delta('x', 1))
    vi.advanceTimersByTime(14_000)
    expect(sockets.all).toHaveLength(1)
    vi.advanceTimersByTime(2_000)
    expect(url()).toBe('ws://x?resume=resp_1&starting_after=1')
  })
})

describe('the numbers of the events', () => {
  test('a number that was heard before is not heard again', async () => {
    const lines = board()
    sockets.last.accept()
    await ask(lines, 'conv_1')
    for (const event of [created, delta('a', 1), delta('a', 1), created, delta('b', 2)])
      say(0, event)
    expect(heard).toEqual([
      'opened',
      'conv_1: response.created',
      'conv_1: response.output_text.delta',
      'conv_1: response.output_text.delta',
    ])
  })

  test('a gap makes it go on behind the last event', async () => {
    const lines = board()
    sockets.last.accept()
    await ask(lines, 'conv_1')
    say(0, created)
    say(0, delta('b', 2))
    expect(heard.slice(2)).toEqual(['conv_1 lost', 'lost'])
    vi.advanceTimersByTime(400)
    expect(sockets.last.url).toBe('ws://x?resume=resp_1&starting_after=0')
  })

  test('an event that the page does not know counts, and is told to nobody', async () => {
    const lines = board()
    sockets.last.accept()
    await ask(lines, 'conv_1')
    say(0, created)
    say(0, { type: 'response.new_thing', sequence_number: 1 })
    say(0, delta('x', 2))
    expect(heard.slice(1)).toEqual([
      'conv_1: response.created',
      'conv_1: response.output_text.delta',
    ])
  })
})

describe('a turn that runs already', () => {
  test('is taken up from its first event, on a line of its own', () => {
    const lines = board()
    sockets.last.accept()
    lines.follow('conv_1', 'resp_00000000000000000000000000000001')
    lines.follow('conv_1', 'resp_00000000000000000000000000000001')
    expect(sockets.all.map(({ url }) => url)).toEqual([
      'ws://x',
      'ws://x?resume=resp_00000000000000000000000000000001',
    ])
    sockets.last.accept()
    for (const frame of frames('stopped')) sockets.last.say(frame)
    expect(heard.slice(0, 4)).toEqual([
      'opened',
      'opened',
      'conv_1 resumed',
      'conv_1: response.created',
    ])
    expect(heard.at(-1)).toBe('conv_1: response.incomplete')
  })

  test('can be stopped on that line', () => {
    const lines = board()
    lines.follow('conv_1', 'resp_1')
    expect(lines.cancel('conv_1', 'resp_1')).toBe(false)
    sockets.last.accept()
    expect(lines.cancel('conv_1', 'resp_1')).toBe(true)
    expect(sockets.last.sent).toEqual([{ type: 'response.cancel', response_id: 'resp_1' }])
  })

  test('whose events are gone is told to be gone', () => {
    const lines = board()
    lines.follow('conv_1', 'resp_1')
    sockets.last.accept()
    sockets.last.say(frames('resumed-too-late')[0]!)
    expect(heard.at(-1)).toBe('conv_1 gone')
  })
})

describe('a server that closes a silent line', () => {
  test('is not told as a loss, and dialled when somebody asks', async () => {
    const lines = board()
    sockets.last.accept()
    sockets.last.close(1000)
    vi.advanceTimersByTime(60_000)
    expect(sockets.all).toHaveLength(1)
    const asking = ask(lines, 'conv_1')
    sockets.last.accept()
    expect(await asking).toBe(true)
    expect(heard).toEqual(['opened', 'opened'])
  })

  test('is dialled when somebody begins to write', () => {
    const lines = board()
    sockets.last.accept()
    sockets.last.close(1000)
    lines.wake()
    expect(sockets.all).toHaveLength(2)
  })

  test('because of its age takes nothing that was on its way with it', async () => {
    const lines = board()
    sockets.last.accept()
    await ask(lines, 'conv_1')
    sockets.last.say(frames('connection-limit')[0]!)
    expect(heard).toEqual(['opened'])
    sockets.last.close(1000)
    expect(heard).toContain('conv_1 gone')
  })
})

test('a turn that finds no line in time was not started', async () => {
  const lines = board()
  const creating = ask(lines, 'conv_1')
  await vi.advanceTimersByTimeAsync(6000)
  expect(await creating).toBe(false)
})

test('a stop goes out on the line of its turn', async () => {
  const lines = board()
  sockets.last.accept()
  await ask(lines, 'conv_1')
  lines.cancel('conv_1', 'resp_1')
  lines.cancel('conv_2', 'resp_2')
  expect(sockets.last.sent.slice(1)).toEqual([{ type: 'response.cancel', response_id: 'resp_1' }])
})
