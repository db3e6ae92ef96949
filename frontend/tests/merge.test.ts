import { expect, test } from 'vitest'
import { merge } from '../src/state/merge'
import type { Message } from '../src/state/state'
import { item } from './wire'

const mine = (id: string, text: string, status: Message['status']): Message => ({
  id,
  role: 'user',
  text,
  status,
})

test('a question of this page is recognised among the stored ones by its text', () => {
  const merged = merge([mine('message_1', 'hi', 'completed')], [item('msg_1', 'user', 'hi')])
  expect(merged.map(({ id }) => id)).toEqual(['msg_1'])
})

test('the same question asked twice and stored once is missing once', () => {
  const local = [mine('message_1', 'hi', 'completed'), mine('message_2', 'hi', 'sending')]
  const merged = merge(local, [item('msg_1', 'user', 'hi')])
  expect(merged.map(({ id }) => id)).toEqual(['msg_1', 'message_2'])
})

test('an older stored question of the same text does not stand in for a new one', () => {
  const local: Message[] = [mine('msg_1', 'hi', 'completed'), mine('message_1', 'hi', 'sending')]
  const merged = merge(local, [item('msg_1', 'user', 'hi')])
  expect(merged.map(({ id }) => id)).toEqual(['msg_1', 'message_1'])
})

test('an unchanged message stays the same object', () => {
  const local = merge([], [item('msg_1', 'user', 'hi'), item('msg_2', 'assistant', 'hello')])
  const again = merge(local, [item('msg_1', 'user', 'hi'), item('msg_2', 'assistant', 'hello')])
  expect(again[0]).toBe(local[0])
  expect(again[1]).toBe(local[1])
})

test('items that are no message of the two speakers are left out', () => {
  const call = { ...item('fc_1', 'assistant', ''), type: 'function_call' }
  const system = { ...item('msg_0', 'user', 'be kind'), role: 'system' as const }
  expect(merge([], [system, call])).toEqual([])
})

test('an answer that is stored as incomplete says so', () => {
  const [, answer] = merge(
    [],
    [item('msg_1', 'user', 'hi'), item('msg_2', 'assistant', 'he', 'incomplete')],
  )
  expect(answer).toMatchObject({ status: 'incomplete', shortened: 'unknown' })
})
