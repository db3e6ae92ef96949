import { describe, expect, test } from 'vitest'
import { reduceChat } from '../src/state/chat'
import type { ChatEvent } from '../src/state/event'
import { emptyChat, type Chat } from '../src/state/state'
import type { Item } from '../src/api/resources'
import { completed, created, delta, failed, incomplete, item, refusal, started } from './fixtures'

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

  test('grows the answer by its deltas and knows the name of the response', () => {
    const chat = after(asked, ...started, delta('Be', 4), delta('cause', 5))
    expect(chat.messages[1]).toMatchObject({ id: 'msg_a', text: 'Because', status: 'streaming' })
    expect(chat.turn).toMatchObject({ phase: 'streaming', responseId: 'resp_1' })
  })

  test('takes the finished text for the true one', () => {
    const done: ChatEvent = {
      type: 'response.output_item.done',
      sequence_number: 6,
      item: item('msg_a', 'assistant', 'Because.'),
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

  test('passes over items and parts that it does not know', () => {
    const strange: ChatEvent[] = [
      { type: 'response.output_item.added', sequence_number: 3, item: { id: 'x_1', type: 'x' } },
      { type: 'other', sequence_number: 4 },
      { type: 'response.output_item.done', sequence_number: 5, item: { id: 'x_1', type: 'x' } },
    ]
    const chat = after(asked, ...started, delta('Be'), ...strange, delta('cause'), completed())
    expect(chat.messages.map(({ text }) => text)).toEqual(['why?', 'Because'])
  })

  test('can be asked to stop again when the first time did not arrive', () => {
    const chat = after(asked, ...started, { type: 'stop.requested' }, { type: 'stop.failed' })
    expect(chat.turn?.stopping).toBe(false)
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
  const question = item('msg_q', 'user', 'why?')
  const loaded = (running: string | null, ...items: readonly Item[]): ChatEvent => ({
    type: 'history.loaded',
    items,
    running,
  })

  test('the text from before stays, and goes on when the line is back', () => {
    const cut = after(asked, ...started, delta('Beca'), lost)
    expect(cut.turn?.phase).toBe('recovering')
    const chat = [{ type: 'turn.resumed' } as const, delta('use.')].reduce(reduceChat, cut)
    expect(chat.turn?.phase).toBe('streaming')
    expect(chat.messages[1]).toMatchObject({ id: 'msg_a', text: 'Because.' })
  })

  test('an answer that had not begun is waited for again', () => {
    expect(after(asked, created, lost, { type: 'turn.resumed' }).turn?.phase).toBe('waiting')
  })

  test('the partial answer stays while the server still writes it', () => {
    const chat = after(asked, ...started, delta('Beca'), lost, loaded('resp_1', question))
    expect(chat.turn).toMatchObject({ phase: 'recovering', responseId: 'resp_1' })
    expect(chat.messages).toMatchObject([{ id: 'msg_q' }, { id: 'msg_a', text: 'Beca' }])
  })

  test("the server's finished answer replaces the partial one and ends the turn", () => {
    const answer = item('msg_a', 'assistant', 'Because.')
    const chat = after(asked, ...started, delta('Beca'), lost, loaded(null, question, answer))
    expect(chat).toMatchObject({ turn: null, unanswered: false })
    expect(chat.messages.map(({ text }) => text)).toEqual(['why?', 'Because.'])
  })

  test('a question that never arrived can be sent again', () => {
    const chat = after(asked, lost, loaded(null))
    expect(chat.messages).toMatchObject([
      { status: 'unsent', failure: { code: 'connection_lost' } },
    ])
    expect(chat.turn).toBeNull()
  })

  test('a question that never arrived is not taken for that of another device', () => {
    const chat = after(asked, lost, loaded('resp_2', item('msg_o', 'user', 'and how?')))
    expect(chat.messages).toMatchObject([
      { text: 'and how?', status: 'completed' },
      { text: 'why?', status: 'unsent' },
    ])
    expect(chat.turn).toMatchObject({ phase: 'recovering', responseId: 'resp_2' })
  })

  test('an answer that never comes is given up without losing what was read', () => {
    const chat = after(asked, ...started, delta('Beca'), lost, loaded(null, question))
    expect(chat.messages[1]).toMatchObject({
      text: 'Beca',
      status: 'incomplete',
      shortened: 'unknown',
    })
    expect(chat).toMatchObject({ turn: null, unanswered: false })
  })

  test('a stored question without any answer is said to be unanswered', () => {
    expect(after(asked, lost, loaded(null, question))).toMatchObject({
      turn: null,
      unanswered: true,
    })
  })

  test('a wish to stop is kept', () => {
    const chat = after(asked, created, { type: 'stop.requested' }, lost, loaded('resp_1', question))
    expect(chat.turn).toMatchObject({ stopping: true, responseId: 'resp_1' })
  })
})

describe('a reload in the middle of an answer', () => {
  const question = item('msg_q', 'user', 'why?')
  const opened: ChatEvent = { type: 'history.loaded', items: [question], running: 'resp_1' }

  test('takes it up from its first event', () => {
    const chat = after(opened, { type: 'turn.resumed' }, ...started, delta('Because.'))
    expect(chat.turn).toMatchObject({ phase: 'streaming', responseId: 'resp_1' })
    expect(chat.messages.map(({ text }) => text)).toEqual(['why?', 'Because.'])
  })

  test('shows an answer once that came to its end meanwhile', () => {
    const items = [question, item('msg_a', 'assistant', 'Because.')]
    const late: ChatEvent = { type: 'history.loaded', items, running: 'resp_1' }
    const chat = after(late, { type: 'turn.resumed' }, ...started, delta('Because.'), completed())
    expect(chat.messages.map(({ text }) => text)).toEqual(['why?', 'Because.'])
    expect(chat.turn).toBeNull()
  })

  test('does not disturb a turn that this page follows already', () => {
    const before = after(asked, ...started, delta('Beca'))
    const chat = reduceChat(before, opened)
    expect(chat.turn).toEqual(before.turn)
    expect(chat.messages.at(-1)).toMatchObject({ text: 'Beca', status: 'streaming' })
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
