import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { DeltaBuffer } from '../src/api/delta-buffer'
import type { Delta } from '../src/api/events'
import { completed, delta } from './fixtures'

let delivered: string[]
let buffer: DeltaBuffer

beforeEach(() => {
  vi.useFakeTimers()
  delivered = []
  buffer = new DeltaBuffer((chat, event) =>
    delivered.push(`${chat} ${'delta' in event ? event.delta : event.type}`),
  )
})

afterEach(() => {
  vi.useRealTimers()
})

test('deltas within 50 ms are delivered as one', () => {
  for (const letter of 'abc') buffer.push('a', delta(letter))
  expect(delivered).toEqual([])
  vi.advanceTimersByTime(50)
  expect(delivered).toEqual(['a abc'])
})

test('the deltas of each chat are joined separately', () => {
  buffer.push('a', delta('1'))
  buffer.push('b', delta('2'))
  buffer.push('a', delta('3'))
  vi.advanceTimersByTime(50)
  expect(delivered).toEqual(['a 13', 'b 2'])
})

test('deltas of different items are not joined', () => {
  buffer.push('a', { ...delta('thought'), item_id: 'rs_1' } as Delta)
  buffer.push('a', delta('text'))
  vi.advanceTimersByTime(50)
  expect(delivered).toEqual(['a thought', 'a text'])
})

test('another event does not overtake the deltas before it', () => {
  buffer.push('a', delta('end'))
  buffer.push('a', completed())
  expect(delivered).toEqual(['a end', 'a response.completed'])
})

test('a flush delivers the pending delta, once', () => {
  buffer.push('a', delta('x'))
  buffer.flush('a')
  vi.advanceTimersByTime(100)
  expect(delivered).toEqual(['a x'])
})
