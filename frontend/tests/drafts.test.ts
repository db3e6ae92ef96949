import { expect, test } from 'vitest'
import { DraftStorage } from '../src/app/drafts'
import { SafeStorage } from '../src/ui/storage'
import { emptyChat, initialState, NEW, type Chat, type State } from '../src/state/state'

function memory(): SafeStorage {
  const values = new Map<string, string>()
  const storage = {
    getItem: (key: string) => values.get(key) ?? null,
    setItem: (key: string, value: string) => values.set(key, value),
    removeItem: (key: string) => values.delete(key),
  }
  return new SafeStorage(() => storage as unknown as Storage)
}

const blocked = new SafeStorage(() => {
  throw new DOMException('denied', 'SecurityError')
})

const stateWith = (chats: Record<string, Partial<Chat>>): State => ({
  ...initialState,
  chats: Object.fromEntries(
    Object.entries(chats).map(([id, chat]) => [id, { ...emptyChat, ...chat }]),
  ),
})

test('drafts are restored, for each user only their own', () => {
  const drafts = new DraftStorage(memory())
  drafts.save(
    'alice',
    stateWith({ conv_1: { draft: 'half' }, [NEW]: { draft: 'new' }, conv_2: {} }),
  )
  expect(drafts.load('alice')).toEqual({ conv_1: 'half', [NEW]: 'new' })
  expect(drafts.load('bob')).toEqual({})
})

test('logging out clears the drafts', () => {
  const drafts = new DraftStorage(memory())
  drafts.save('alice', stateWith({ conv_1: { draft: 'half' } }))
  drafts.clear('alice')
  expect(drafts.load('alice')).toEqual({})
})

test('without storage the page has no drafts, and works', () => {
  const drafts = new DraftStorage(blocked)
  drafts.save('alice', stateWith({ conv_1: { draft: 'half' } }))
  expect(drafts.load('alice')).toEqual({})
})

test('an invalid value under the same key is ignored', () => {
  const storage = memory()
  for (const value of ['not json', '[1]', 'null', '{"a":1}']) {
    storage.write('parley.drafts.alice', value)
    expect(new DraftStorage(storage).load('alice')).toEqual({})
  }
})
