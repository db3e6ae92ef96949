import { describe, expect, test } from 'vitest'
import { reduceChat } from '../src/state/chat'
import type { ChatEvent } from '../src/state/event'
import { emptyChat, type Chat } from '../src/state/state'
import { completed, created, delta, failed, incomplete, item, refusal, started } from './wire'

const ready: Chat = { ...emptyChat, history: 'ready' }
const asked: ChatEvent = { type: 'message.submitted', message: 'message_1', text: 'why?' }

function after(...events: readonly ChatEvent[]): Chat {
  return events.reduce(reduceChat, ready)
}

describe('a turn', () => {
  test('shows the question at once and empties the composer', () => {
    const chat = after({ type: 'draft.changed', text: 'why?' }, asked)
    expect(chat.messages).toMatchObject([{ role: 'user', text: 'why?', status: 'sending' }])
    expect(chat.draft).toBe('')
    expect(chat.turn?.phase).toBe('waiting')
  })

  test('grows the answer by its deltas and remembers the last event seen', () => {
    const chat = after(asked, ...started, delta('Be', 4), delta('cause', 5))
    expect(chat.messages[1]).toMatchObject({ id: 'msg_a', text: 'Because', status: 'streaming' })
    expect(chat.turn).toMatchObject({ phase: 'streaming', responseId: 'resp_1', sequence: 5 })
  })

  test('takes the finished text for the true one', () => {
    const done: ChatEvent = {
      type: 'response.output_text.done',
      sequence_number: 6,
      item_id: 'msg_a',
      text: 'Because.',
    }
    const chat = after(asked, ...started, delta('Becau'), done, completed())
    expect(chat.messages[1]).toMatchObject({ text: 'Because.', status: 'completed' })
    expect(chat.turn).toBeNull()
  })

  test('keeps the partial text of a stopped answer and says that it was stopped', () => {
    const chat = after(
      asked,
      ...started,
      delta('Beca'),
      { type: 'stop.requested' },
      incomplete('cancelled'),
    )
    expect(chat.messages[1]).toMatchObject({
      text: 'Beca',
      status: 'incomplete',
      shortened: 'stopped',
    })
    expect(chat.turn).toBeNull()
  })

  test('tells a length limit from a stop', () => {
    const chat = after(asked, ...started, delta('x'), incomplete('max_output_tokens'))
    expect(chat.messages[1]?.shortened).toBe('length')
  })

  test('shows why an answer broke off', () => {
    const chat = after(asked, ...started, delta('x'), failed('model_error', 'gone'))
    expect(chat.messages[1]).toMatchObject({ shortened: 'failed', failure: { message: 'gone' } })
  })

  test('that failed before its first word leaves a trace of it', () => {
    const chat = after(asked, created, failed('model_error', 'gone'))
    expect(chat.messages).toMatchObject([
      { role: 'user', status: 'completed' },
      { role: 'assistant', text: '', shortened: 'failed' },
    ])
  })

  test('ignores deltas of an item it does not know', () => {
    const before = after(asked, ...started)
    const stray: ChatEvent = { ...delta('x'), item_id: 'msg_other' } as ChatEvent
    expect(reduceChat(before, stray).messages).toBe(before.messages)
  })

  test('ignores events when no turn is running', () => {
    expect(after(delta('late'))).toEqual(ready)
  })

  test('cannot be started twice', () => {
    const chat = after(asked, { type: 'message.submitted', message: 'message_2', text: 'again' })
    expect(chat.messages).toHaveLength(1)
  })
})

describe('a question that is turned down', () => {
  test('stays with its reason, to be sent again', () => {
    const chat = after(asked, refusal('too_many_requests'))
    expect(chat.messages).toMatchObject([
      { status: 'unsent', failure: { code: 'too_many_requests' } },
    ])
    expect(chat.turn).toBeNull()
  })

  test('is sent again under the same id and without the old reason', () => {
    const chat = after(asked, refusal('too_many_requests'), {
      type: 'message.retried',
      message: 'message_1',
    })
    expect(chat.messages).toEqual([
      { id: 'message_1', role: 'user', text: 'why?', status: 'sending' },
    ])
    expect(chat.turn?.phase).toBe('waiting')
  })

  test('goes back to the composer, but not over what is written there', () => {
    const discard: ChatEvent = { type: 'message.discarded', message: 'message_1' }
    expect(after(asked, refusal('x'), discard).draft).toBe('why?')
    expect(
      after(asked, refusal('x'), { type: 'draft.changed', text: 'other' }, discard).draft,
    ).toBe('other')
  })

  test('is not confused with a late cancel: a running turn goes on', () => {
    const chat = after(asked, ...started, refusal('not_found'))
    expect(chat.turn?.phase).toBe('streaming')
    expect(chat.messages[0]?.status).toBe('completed')
  })
})

describe('after a lost connection', () => {
  const lost: ChatEvent = { type: 'turn.lost' }

  test('the partial answer stays while the server still writes it', () => {
    const chat = after(asked, ...started, delta('Beca'), lost, {
      type: 'history.loaded',
      items: [item('msg_q', 'user', 'why?')],
    })
    expect(chat.turn?.phase).toBe('recovering')
    expect(chat.messages).toMatchObject([{ id: 'msg_q' }, { id: 'msg_a', text: 'Beca' }])
  })

  test("the server's finished answer replaces the partial one and ends the turn", () => {
    const items = [item('msg_q', 'user', 'why?'), item('msg_a', 'assistant', 'Because.')]
    const chat = after(asked, ...started, delta('Beca'), lost, { type: 'history.loaded', items })
    expect(chat.turn).toBeNull()
    expect(chat.messages.map(({ text }) => text)).toEqual(['why?', 'Because.'])
  })

  test('a question that never arrived can be sent again', () => {
    const chat = after(asked, lost, { type: 'history.loaded', items: [] })
    expect(chat.messages).toMatchObject([
      { status: 'unsent', failure: { code: 'connection_lost' } },
    ])
    expect(chat.turn).toBeNull()
  })

  test('an answer that never comes is given up without losing what was read', () => {
    const chat = after(asked, ...started, delta('Beca'), lost, { type: 'turn.abandoned' })
    expect(chat.messages[1]).toMatchObject({
      text: 'Beca',
      status: 'incomplete',
      shortened: 'unknown',
    })
    expect(chat).toMatchObject({ turn: null, unanswered: false })
  })

  test('a stored question without any answer is said to be unanswered', () => {
    const items = [item('msg_q', 'user', 'why?')]
    const chat = after(asked, lost, { type: 'history.loaded', items }, { type: 'turn.abandoned' })
    expect(chat.unanswered).toBe(true)
  })

  test('a reloaded page waits for the answer that was under way', () => {
    const question = item('msg_q', 'user', 'why?')
    const waiting = after({ type: 'turn.awaited' }, { type: 'history.loaded', items: [question] })
    expect(waiting.turn?.phase).toBe('recovering')
    const items = [question, item('msg_a', 'assistant', 'Because.')]
    expect(reduceChat(waiting, { type: 'history.loaded', items }).turn).toBeNull()
  })
})

describe('history', () => {
  test('that cannot be loaded again does not take away what is on the screen', () => {
    const chat = after(asked, { type: 'history.failed', missing: false })
    expect(chat.history).toBe('ready')
  })

  test('of a conversation that does not exist is missing', () => {
    expect(reduceChat(emptyChat, { type: 'history.failed', missing: true }).history).toBe('missing')
  })
})
