import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Deltas } from '../src/api/delta-buffer'
import type { Delta } from '../src/api/events'
import { completed, delta } from './fixtures'

let heard: string[]
let deltas: Deltas

beforeEach(() => {
  vi.useFakeTimers()
  heard = []
  deltas = new Deltas((chat, event) =>
    heard.push(`${chat} ${'delta' in event ? event.delta : event.type}`),
  )
})

afterEach(() => {
  vi.useRealTimers()
})

test('deltas of 50 ms arrive as one', () => {
  for (const letter of 'abc') deltas.push('a', delta(letter))
  expect(heard).toEqual([])
  vi.advanceTimersByTime(50)
  expect(heard).toEqual(['a abc'])
})

test('chats are joined apart from each other', () => {
  deltas.push('a', delta('1'))
  deltas.push('b', delta('2'))
  deltas.push('a', delta('3'))
  vi.advanceTimersByTime(50)
  expect(heard).toEqual(['a 13', 'b 2'])
})

test('pieces of different items are not joined', () => {
  deltas.push('a', { ...delta('thought'), item_id: 'rs_1' } as Delta)
  deltas.push('a', delta('text'))
  vi.advanceTimersByTime(50)
  expect(heard).toEqual(['a thought', 'a text'])
})

test('another event does not overtake the deltas before it', () => {
  deltas.push('a', delta('end'))
  deltas.push('a', completed())
  expect(heard).toEqual(['a end', 'a response.completed'])
})

test('a flush delivers what has come so far, once', () => {
  deltas.push('a', delta('x'))
  deltas.flush('a')
  vi.advanceTimersByTime(100)
  expect(heard).toEqual(['a x'])
})
