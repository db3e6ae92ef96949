import { expect, test } from 'vitest'
import { merge } from '../src/state/merge'
import type { Message } from '../src/state/state'
import type { Item } from '../src/api/resources'
import { item } from './fixtures'

const question = (id: string, text: string, status: Message['status']): Message => ({
  id,
  role: 'user',
  text,
  status,
})

test('a stored question is matched with the page’s own by its text', () => {
  const merged = merge([question('message_1', 'hi', 'completed')], [item('msg_1', 'user', 'hi')])
  expect(merged.map(({ id }) => id)).toEqual(['msg_1'])
})

test('a question asked twice and stored once is missing once', () => {
  const local = [question('message_1', 'hi', 'completed'), question('message_2', 'hi', 'sending')]
  const merged = merge(local, [item('msg_1', 'user', 'hi')])
  expect(merged.map(({ id }) => id)).toEqual(['msg_1', 'message_2'])
})

test('an older stored question does not match a new one with the same text', () => {
  const local: Message[] = [
    question('msg_1', 'hi', 'completed'),
    question('message_1', 'hi', 'sending'),
  ]
  const merged = merge(local, [item('msg_1', 'user', 'hi')])
  expect(merged.map(({ id }) => id)).toEqual(['msg_1', 'message_1'])
})

test('an unchanged message stays the same object', () => {
  const local = merge([], [item('msg_1', 'user', 'hi'), item('msg_2', 'assistant', 'hello')])
  const again = merge(local, [item('msg_1', 'user', 'hi'), item('msg_2', 'assistant', 'hello')])
  expect(again[0]).toBe(local[0])
  expect(again[1]).toBe(local[1])
})

test('reasoning and function calls become steps', () => {
  const reasoning: Item = {
    id: 'rs_1',
    type: 'reasoning',
    content: [{ type: 'reasoning_text', text: 'hm' }],
  }
  const call: Item = { id: 'fc_1', type: 'function_call', name: 'add', arguments: '{"a":1}' }
  expect(merge([], [reasoning, call])).toEqual([
    { id: 'rs_1', role: 'assistant', step: 'reasoning', text: 'hm', status: 'completed' },
    {
      id: 'fc_1',
      role: 'assistant',
      step: 'function_call',
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
])('an item of an unknown kind is ignored: $type', (unknown) => {
  expect(merge([], [unknown])).toEqual([])
})

test('an unknown part of a message is ignored', () => {
  const parts = [{ type: 'picture' }, { type: 'output_text', text: 'a cat' }]
  const [message] = merge([], [{ ...item('msg_1', 'assistant', ''), content: parts }])
  expect(message?.text).toBe('a cat')
})

test('an answer stored as incomplete is shown as incomplete', () => {
  const [, answer] = merge(
    [],
    [item('msg_1', 'user', 'hi'), item('msg_2', 'assistant', 'he', 'incomplete')],
  )
  expect(answer).toMatchObject({ status: 'incomplete', incompleteReason: 'unknown' })
})
