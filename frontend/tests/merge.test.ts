import { expect, test } from 'vitest'
import { merge } from '../src/state/merge'
import type { Message } from '../src/state/state'
import type { Item } from '../src/api/resources'
import { item } from './fixtures'

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

test('items that nobody said aloud are told apart', () => {
  const thought: Item = {
    id: 'rs_1',
    type: 'reasoning',
    content: [{ type: 'reasoning_text', text: 'hm' }],
  }
  const call: Item = { id: 'fc_1', type: 'function_call', name: 'add', arguments: '{"a":1}' }
  expect(merge([], [thought, call])).toEqual([
    { id: 'rs_1', role: 'assistant', aside: 'thought', text: 'hm', status: 'completed' },
    {
      id: 'fc_1',
      role: 'assistant',
      aside: 'call',
      name: 'add',
      text: '{"a":1}',
      status: 'completed',
    },
  ])
})

test.each<Item>([
  { ...item('msg_0', 'user', 'be kind'), role: 'system' },
  { id: 'fco_1', type: 'function_call_output' },
  { id: 'cmp_1', type: 'compaction' },
  { id: 'rs_1', type: 'reasoning', content: [] },
  { id: 'x_1', type: 'something_new', content: 'of another shape' as never },
])('an item that the page has no words for is left out: $type', (strange) => {
  expect(merge([], [strange])).toEqual([])
})

test('a part that the page does not know is left out of a message', () => {
  const parts = [{ type: 'picture' }, { type: 'output_text', text: 'a cat' }]
  const [message] = merge([], [{ ...item('msg_1', 'assistant', ''), content: parts }])
  expect(message?.text).toBe('a cat')
})

test('an answer that is stored as incomplete says so', () => {
  const [, answer] = merge(
    [],
    [item('msg_1', 'user', 'hi'), item('msg_2', 'assistant', 'he', 'incomplete')],
  )
  expect(answer).toMatchObject({ status: 'incomplete', shortened: 'unknown' })
})
