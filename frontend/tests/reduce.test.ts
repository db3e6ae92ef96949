import { describe, expect, test } from 'vitest'
import type { PageEvent } from '../src/state/event'
import { reduce } from '../src/state/reduce'
import { chatOf, initial, NEW, type State } from '../src/state/state'
import type { Conversation, User } from '../src/api/resources'
import { completed, delta, incomplete, started } from './fixtures'

const alice: User = { id: 'user_1', username: 'alice', role: 'user' }
const opened: PageEvent = { type: 'session.opened', user: alice, drafts: {} }

const conversation = (id: string, title = id): Conversation => ({
  id,
  created_at: 0,
  metadata: { title },
})

function after(...events: readonly PageEvent[]): State {
  return [opened, ...events].reduce(reduce, initial)
}

const loaded = (...ids: string[]): PageEvent => ({
  type: 'sidebar.loaded',
  conversations: ids.map((id) => conversation(id)),
  hasMore: true,
  further: false,
})

const asked = (chat: string): PageEvent => ({
  type: 'chat',
  chat,
  event: { type: 'message.submitted', message: `message_${chat}`, text: 'why?' },
})

describe('chats', () => {
  test('that answer at the same time never mix their texts', () => {
    const running = [...started, delta('one')].map((event): PageEvent => ({
      type: 'chat',
      chat: 'a',
      event,
    }))
    const other = [...started, delta('two')].map((event): PageEvent => ({
      type: 'chat',
      chat: 'b',
      event,
    }))
    const mixed = running.flatMap((event, index) => [event, other[index]!])
    const state = after(asked('a'), asked('b'), { type: 'chat.selected', chat: 'b' }, ...mixed)
    expect(chatOf(state, 'a').messages[1]?.text).toBe('one')
    expect(chatOf(state, 'b').messages[1]?.text).toBe('two')
  })

  test('that did not change stay the same object', () => {
    const before = after(asked('a'), asked('b'))
    const next = reduce(before, { type: 'chat', chat: 'a', event: started[0]! })
    expect(next.chats['b']).toBe(before.chats['b'])
  })

  test('keep a draft each', () => {
    const draft = (chat: string, text: string): PageEvent => ({
      type: 'chat',
      chat,
      event: { type: 'draft.changed', text },
    })
    const state = after(draft('a', 'for a'), draft(NEW, 'for a new one'))
    expect([chatOf(state, 'a').draft, chatOf(state, NEW).draft]).toEqual(['for a', 'for a new one'])
  })
})

describe('a new chat', () => {
  const begun: PageEvent = { type: 'chat.begun', chat: 'local_1', title: 'why?' }

  test('comes first in the list and leaves an empty new chat behind', () => {
    const draft: PageEvent = {
      type: 'chat',
      chat: NEW,
      event: { type: 'draft.changed', text: 'why?' },
    }
    const state = after(loaded('conv_1'), draft, begun)
    expect(state.sidebar.entries.map(({ id }) => id)).toEqual(['local_1', 'conv_1'])
    expect(state.selected).toBe('local_1')
    expect(chatOf(state, NEW).draft).toBe('')
  })

  test('takes the name the server gives it, with everything said so far', () => {
    const state = after(begun, asked('local_1'), {
      type: 'chat.created',
      chat: 'local_1',
      conversation: conversation('conv_9', 'why?'),
    })
    expect(state.selected).toBe('conv_9')
    expect(state.sidebar.entries).toEqual([{ id: 'conv_9', title: 'why?' }])
    expect(chatOf(state, 'conv_9').messages).toHaveLength(1)
    expect(state.chats['local_1']).toBeUndefined()
  })

  test('keeps its first words for a title until the server has given it one', () => {
    const untitled = { id: 'conv_9', created_at: 0, metadata: {} }
    const made: PageEvent = { type: 'chat.created', chat: 'local_1', conversation: untitled }
    const titles = (...events: PageEvent[]) =>
      after(begun, made, ...events).sidebar.entries.map(({ title }) => title)
    expect(titles()).toEqual(['why?'])
    expect(titles({ type: 'chat.found', conversation: untitled })).toEqual(['why?'])
    const named: PageEvent = {
      type: 'chat.found',
      conversation: conversation('conv_9', 'On causes'),
    }
    expect(titles(named)).toEqual(['On causes'])
    const reloaded: PageEvent = {
      type: 'sidebar.loaded',
      conversations: [untitled],
      hasMore: false,
      further: false,
    }
    expect(titles(reloaded)).toEqual(['why?'])
  })

  test('does not call back a reader who went elsewhere', () => {
    const state = after(
      begun,
      { type: 'chat.selected', chat: 'conv_1' },
      {
        type: 'chat.created',
        chat: 'local_1',
        conversation: conversation('conv_9'),
      },
    )
    expect(state.selected).toBe('conv_1')
  })

  test('survives a list that is loaded before the server knows it', () => {
    const state = after(begun, loaded('conv_1'))
    expect(state.sidebar.entries.map(({ id }) => id)).toEqual(['local_1', 'conv_1'])
  })
})

describe('the list', () => {
  test('puts the chat that was spoken in last first', () => {
    const state = after(loaded('conv_1', 'conv_2', 'conv_3'), asked('conv_3'))
    expect(state.sidebar.entries.map(({ id }) => id)).toEqual(['conv_3', 'conv_1', 'conv_2'])
  })

  test('shows no chat twice when its pages overlap', () => {
    const further: PageEvent = {
      type: 'sidebar.loaded',
      conversations: [conversation('conv_2'), conversation('conv_3')],
      hasMore: false,
      further: true,
    }
    const state = after(loaded('conv_1', 'conv_2'), further)
    expect(state.sidebar).toMatchObject({ hasMore: false, status: 'ready' })
    expect(state.sidebar.entries.map(({ id }) => id)).toEqual(['conv_1', 'conv_2', 'conv_3'])
  })
})

describe('the status line', () => {
  const said = (...events: typeof started) =>
    after(asked('a'), ...events.map((event): PageEvent => ({ type: 'chat', chat: 'a', event })))
      .announced

  test('says that an answer started, finished, or was stopped', () => {
    expect(said(...started)).toEqual({ chat: 'a', what: 'started' })
    expect(said(...started, completed())).toEqual({ chat: 'a', what: 'finished' })
    expect(said(...started, incomplete('cancelled'))).toEqual({ chat: 'a', what: 'stopped' })
  })

  test('does not repeat itself for every delta', () => {
    const before = after(
      asked('a'),
      ...started.map((event): PageEvent => ({ type: 'chat', chat: 'a', event })),
    )
    const next = reduce(before, { type: 'chat', chat: 'a', event: delta('x') })
    expect(next.announced).toBe(before.announced)
  })
})

describe('a session', () => {
  test('that expired loses nothing for the same user', () => {
    const state = after(asked('a'), { type: 'session.closed' }, opened)
    expect(chatOf(state, 'a').messages).toHaveLength(1)
  })

  test('that expired leaves its answers running at the server', () => {
    const state = after(asked('a'), { type: 'session.closed' })
    expect(chatOf(state, 'a').turn?.phase).toBe('recovering')
  })

  test('of another user begins with nothing of the one before', () => {
    const bob: User = { id: 'user_2', username: 'bob', role: 'user' }
    const state = after(
      asked('a'),
      loaded('conv_1'),
      { type: 'session.closed' },
      {
        type: 'session.opened',
        user: bob,
        drafts: { [NEW]: 'hello' },
      },
    )
    expect(state.chats).toEqual({ [NEW]: { ...chatOf(initial, NEW), draft: 'hello' } })
    expect(state.sidebar.entries).toEqual([])
  })
})
