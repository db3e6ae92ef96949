import { describe, expect, test } from 'vitest'
import type { PageEvent } from '../src/state/event'
import { reduce } from '../src/state/reduce'
import { chatOf, initialState, NEW, type State } from '../src/state/state'
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
  return [opened, ...events].reduce(reduce, initialState)
}

const loaded = (...ids: string[]): PageEvent => ({
  type: 'sidebar.loaded',
  conversations: ids.map((id) => conversation(id)),
  hasMore: true,
  append: false,
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

  test('have separate drafts', () => {
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
  const startChat: PageEvent = { type: 'chat.started', chat: 'local_1', title: 'why?' }

  test('comes first in the list and leaves an empty new chat behind', () => {
    const draft: PageEvent = {
      type: 'chat',
      chat: NEW,
      event: { type: 'draft.changed', text: 'why?' },
    }
    const state = after(loaded('conv_1'), draft, startChat)
    expect(state.sidebar.entries.map(({ id }) => id)).toEqual(['local_1', 'conv_1'])
    expect(state.selected).toBe('local_1')
    expect(chatOf(state, NEW).draft).toBe('')
  })

  test('gets its id from the server and keeps its messages', () => {
    const state = after(startChat, asked('local_1'), {
      type: 'chat.created',
      chat: 'local_1',
      conversation: conversation('conv_9', 'why?'),
    })
    expect(state.selected).toBe('conv_9')
    expect(state.sidebar.entries).toEqual([{ id: 'conv_9', title: 'why?' }])
    expect(chatOf(state, 'conv_9').messages).toHaveLength(1)
    expect(state.chats['local_1']).toBeUndefined()
  })

  test('keeps its first words as the title until the server has generated one', () => {
    const untitled = { id: 'conv_9', created_at: 0, metadata: {} }
    const made: PageEvent = { type: 'chat.created', chat: 'local_1', conversation: untitled }
    const titles = (...events: PageEvent[]) =>
      after(startChat, made, ...events).sidebar.entries.map(({ title }) => title)
    expect(titles()).toEqual(['why?'])
    expect(titles({ type: 'chat.loaded', conversation: untitled })).toEqual(['why?'])
    const named: PageEvent = {
      type: 'chat.loaded',
      conversation: conversation('conv_9', 'On causes'),
    }
    expect(titles(named)).toEqual(['On causes'])
    const reloaded: PageEvent = {
      type: 'sidebar.loaded',
      conversations: [untitled],
      hasMore: false,
      append: false,
    }
    expect(titles(reloaded)).toEqual(['why?'])
  })

  test('does not change the selection of a user who opened another chat', () => {
    const state = after(
      startChat,
      { type: 'chat.selected', chat: 'conv_1' },
      {
        type: 'chat.created',
        chat: 'local_1',
        conversation: conversation('conv_9'),
      },
    )
    expect(state.selected).toBe('conv_1')
  })

  test('stays when the list is loaded before the server has created it', () => {
    const state = after(startChat, loaded('conv_1'))
    expect(state.sidebar.entries.map(({ id }) => id)).toEqual(['local_1', 'conv_1'])
  })
})

describe('the list', () => {
  test('moves the chat with the latest question to the top', () => {
    const state = after(loaded('conv_1', 'conv_2', 'conv_3'), asked('conv_3'))
    expect(state.sidebar.entries.map(({ id }) => id)).toEqual(['conv_3', 'conv_1', 'conv_2'])
  })

  test('shows no chat twice when its pages overlap', () => {
    const nextPage: PageEvent = {
      type: 'sidebar.loaded',
      conversations: [conversation('conv_2'), conversation('conv_3')],
      hasMore: false,
      append: true,
    }
    const state = after(loaded('conv_1', 'conv_2'), nextPage)
    expect(state.sidebar).toMatchObject({ hasMore: false, status: 'ready' })
    expect(state.sidebar.entries.map(({ id }) => id)).toEqual(['conv_1', 'conv_2', 'conv_3'])
  })
})

describe('the status line', () => {
  const announcementAfter = (...events: typeof started) =>
    after(asked('a'), ...events.map((event): PageEvent => ({ type: 'chat', chat: 'a', event })))
      .announcement

  test('announces that an answer started, finished or was stopped', () => {
    expect(announcementAfter(...started)).toEqual({ chat: 'a', kind: 'started' })
    expect(announcementAfter(...started, completed())).toEqual({ chat: 'a', kind: 'finished' })
    expect(announcementAfter(...started, incomplete('cancelled'))).toEqual({
      chat: 'a',
      kind: 'stopped',
    })
  })

  test('does not repeat for every delta', () => {
    const before = after(
      asked('a'),
      ...started.map((event): PageEvent => ({ type: 'chat', chat: 'a', event })),
    )
    const next = reduce(before, { type: 'chat', chat: 'a', event: delta('x') })
    expect(next.announcement).toBe(before.announcement)
  })
})

describe('a session', () => {
  test('that expired loses nothing for the same user', () => {
    const state = after(asked('a'), { type: 'session.closed' }, opened)
    expect(chatOf(state, 'a').messages).toHaveLength(1)
  })

  test('that expired leaves its answers running on the server', () => {
    const state = after(asked('a'), { type: 'session.closed' })
    expect(chatOf(state, 'a').turn?.phase).toBe('recovering')
  })

  test('of another user starts without the data of the previous user', () => {
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
    expect(state.chats).toEqual({ [NEW]: { ...chatOf(initialState, NEW), draft: 'hello' } })
    expect(state.sidebar.entries).toEqual([])
  })
})
