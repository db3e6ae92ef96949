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

  test('appends deltas to the answer and stores the id of the response', () => {
    const chat = after(asked, ...started, delta('Be', 4), delta('cause', 5))
    expect(chat.messages[1]).toMatchObject({ id: 'msg_a', text: 'Because', status: 'streaming' })
    expect(chat.turn).toMatchObject({ phase: 'streaming', responseId: 'resp_1' })
  })

  test('replaces the deltas with the final text', () => {
    const done: ChatEvent = {
      type: 'response.output_item.done',
      sequence_number: 6,
      item: item('msg_a', 'assistant', 'Because.'),
    }
    const chat = after(asked, ...started, delta('Becau'), done, completed())
    expect(chat.messages[1]).toMatchObject({ text: 'Because.', status: 'completed' })
    expect(chat.turn).toBeNull()
  })

  test('keeps the partial text of a stopped answer and marks it as stopped', () => {
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
      incompleteReason: 'stopped',
    })
    expect(chat.turn).toBeNull()
  })

  test('distinguishes the output limit from a stop', () => {
    const chat = after(asked, ...started, delta('x'), incomplete('max_output_tokens'))
    expect(chat.messages[1]?.incompleteReason).toBe('length')
  })

  test('shows why an answer failed', () => {
    const chat = after(asked, ...started, delta('x'), failed('model_error', 'gone'))
    expect(chat.messages[1]).toMatchObject({
      incompleteReason: 'failed',
      failure: { message: 'gone' },
    })
  })

  test('that failed before its first text shows the failure', () => {
    const chat = after(asked, created, failed('model_error', 'gone'))
    expect(chat.messages).toMatchObject([
      { role: 'user', status: 'completed' },
      { role: 'assistant', text: '', incompleteReason: 'failed' },
    ])
  })

  test('ignores deltas of an item it does not know', () => {
    const before = after(asked, ...started)
    const stray: ChatEvent = { ...delta('x'), item_id: 'msg_other' } as ChatEvent
    expect(reduceChat(before, stray).messages).toBe(before.messages)
  })

  test('ignores unknown items and events', () => {
    const strange: ChatEvent[] = [
      { type: 'response.output_item.added', sequence_number: 3, item: { id: 'x_1', type: 'x' } },
      { type: 'other', sequence_number: 4 },
      { type: 'response.output_item.done', sequence_number: 5, item: { id: 'x_1', type: 'x' } },
    ]
    const chat = after(asked, ...started, delta('Be'), ...strange, delta('cause'), completed())
    expect(chat.messages.map(({ text }) => text)).toEqual(['why?', 'Because'])
  })

  test('can be stopped again after a failed stop', () => {
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

describe('a rejected question', () => {
  test('stays with its failure, to be sent again', () => {
    const chat = after(asked, refusal('too_many_requests'))
    expect(chat.messages).toMatchObject([
      { status: 'unsent', failure: { code: 'too_many_requests' } },
    ])
    expect(chat.turn).toBeNull()
  })

  test('is sent again with the same id and without the failure', () => {
    const chat = after(asked, refusal('too_many_requests'), {
      type: 'message.retried',
      message: 'message_1',
    })
    expect(chat.messages).toEqual([
      { id: 'message_1', role: 'user', text: 'why?', status: 'sending' },
    ])
    expect(chat.turn?.phase).toBe('waiting')
  })

  test('returns to the composer, but does not overwrite a draft', () => {
    const discard: ChatEvent = { type: 'message.discarded', message: 'message_1' }
    expect(after(asked, refusal('x'), discard).draft).toBe('why?')
    expect(
      after(asked, refusal('x'), { type: 'draft.changed', text: 'other' }, discard).draft,
    ).toBe('other')
  })

  test('is not confused with a late cancel: a running turn continues', () => {
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

  test('the partial text stays, and continues after the reconnect', () => {
    const cut = after(asked, ...started, delta('Beca'), lost)
    expect(cut.turn?.phase).toBe('recovering')
    const chat = [{ type: 'turn.resumed' } as const, delta('use.')].reduce(reduceChat, cut)
    expect(chat.turn?.phase).toBe('streaming')
    expect(chat.messages[1]).toMatchObject({ id: 'msg_a', text: 'Because.' })
  })

  test('an answer without text yet is waited for again', () => {
    expect(after(asked, created, lost, { type: 'turn.resumed' }).turn?.phase).toBe('waiting')
  })

  test('the partial answer stays while the response is still running', () => {
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

  test('a question that never arrived is not confused with one from another device', () => {
    const chat = after(asked, lost, loaded('resp_2', item('msg_o', 'user', 'and how?')))
    expect(chat.messages).toMatchObject([
      { text: 'and how?', status: 'completed' },
      { text: 'why?', status: 'unsent' },
    ])
    expect(chat.turn).toMatchObject({ phase: 'recovering', responseId: 'resp_2' })
  })

  test('a turn that no longer runs ends without losing its text', () => {
    const chat = after(asked, ...started, delta('Beca'), lost, loaded(null, question))
    expect(chat.messages[1]).toMatchObject({
      text: 'Beca',
      status: 'incomplete',
      incompleteReason: 'unknown',
    })
    expect(chat).toMatchObject({ turn: null, unanswered: false })
  })

  test('a stored question without an answer is marked as unanswered', () => {
    expect(after(asked, lost, loaded(null, question))).toMatchObject({
      turn: null,
      unanswered: true,
    })
  })

  test('a requested stop is kept', () => {
    const chat = after(asked, created, { type: 'stop.requested' }, lost, loaded('resp_1', question))
    expect(chat.turn).toMatchObject({ stopping: true, responseId: 'resp_1' })
  })
})

describe('a reload in the middle of an answer', () => {
  const question = item('msg_q', 'user', 'why?')
  const opened: ChatEvent = { type: 'history.loaded', items: [question], running: 'resp_1' }

  test('follows it from its first event', () => {
    const chat = after(opened, { type: 'turn.resumed' }, ...started, delta('Because.'))
    expect(chat.turn).toMatchObject({ phase: 'streaming', responseId: 'resp_1' })
    expect(chat.messages.map(({ text }) => text)).toEqual(['why?', 'Because.'])
  })

  test('shows an answer that ended meanwhile only once', () => {
    const items = [question, item('msg_a', 'assistant', 'Because.')]
    const late: ChatEvent = { type: 'history.loaded', items, running: 'resp_1' }
    const chat = after(late, { type: 'turn.resumed' }, ...started, delta('Because.'), completed())
    expect(chat.messages.map(({ text }) => text)).toEqual(['why?', 'Because.'])
    expect(chat.turn).toBeNull()
  })

  test('does not change a turn that this page already follows', () => {
    const before = after(asked, ...started, delta('Beca'))
    const chat = reduceChat(before, opened)
    expect(chat.turn).toEqual(before.turn)
    expect(chat.messages.at(-1)).toMatchObject({ text: 'Beca', status: 'streaming' })
  })
})

describe('history', () => {
  test('that fails to reload keeps the messages on the screen', () => {
    const chat = after(asked, { type: 'history.failed', missing: false })
    expect(chat.history).toBe('ready')
  })

  test('of a conversation that does not exist is missing', () => {
    expect(reduceChat(emptyChat, { type: 'history.failed', missing: true }).history).toBe('missing')
  })
})
