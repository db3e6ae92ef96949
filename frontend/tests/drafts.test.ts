import { expect, test } from 'vitest'
import { DraftShelf } from '../src/app/drafts'
import { Shelf } from '../src/app/storage'
import { emptyChat, initial, NEW, type Chat, type State } from '../src/state/state'

function memory(): Shelf {
  const values = new Map<string, string>()
  const storage = {
    getItem: (key: string) => values.get(key) ?? null,
    setItem: (key: string, value: string) => values.set(key, value),
    removeItem: (key: string) => values.delete(key),
  }
  return new Shelf(() => storage as unknown as Storage)
}

const blocked = new Shelf(() => {
  throw new DOMException('denied', 'SecurityError')
})

const having = (chats: Record<string, Partial<Chat>>): State => ({
  ...initial,
  chats: Object.fromEntries(
    Object.entries(chats).map(([id, chat]) => [id, { ...emptyChat, ...chat }]),
  ),
})

test('drafts come back, each user only their own', () => {
  const drafts = new DraftShelf(memory())
  drafts.save('alice', having({ conv_1: { draft: 'half' }, [NEW]: { draft: 'new' }, conv_2: {} }))
  expect(drafts.load('alice')).toEqual({ conv_1: 'half', [NEW]: 'new' })
  expect(drafts.load('bob')).toEqual({})
})

test('logging out forgets the drafts', () => {
  const drafts = new DraftShelf(memory())
  drafts.save('alice', having({ conv_1: { draft: 'half' } }))
  drafts.forget('alice')
  expect(drafts.load('alice')).toEqual({})
})

test('a page without storage has no drafts, and works', () => {
  const drafts = new DraftShelf(blocked)
  drafts.save('alice', having({ conv_1: { draft: 'half' } }))
  expect(drafts.load('alice')).toEqual({})
})

test('something else under the same key is no draft', () => {
  const shelf = memory()
  for (const value of ['not json', '[1]', 'null', '{"a":1}']) {
    shelf.write('parley.drafts.alice', value)
    expect(new DraftShelf(shelf).load('alice')).toEqual({})
  }
})
