import { beforeEach, describe, expect, test } from 'vitest'
import { Sending } from '../src/app/sending'
import { Store } from '../src/app/store.svelte'
import { NEW } from '../src/state/state'
import { ApiError } from '../src/wire/api'
import { completed, created } from './wire'

let store: Store
let sent: string[]
let reachable: boolean
let found: (
  title: string,
) => Promise<{ id: string; created_at: number; metadata: { title: string } }>
let sending: Sending

beforeEach(() => {
  store = new Store()
  sent = []
  reachable = true
  found = async (title) => ({ id: 'conv_1', created_at: 0, metadata: { title } })
  const turns = {
    create: async (chat: string, input: string) => {
      if (reachable) sent.push(`${chat}: ${input}`)
      return reachable
    },
    cancel: (chat: string, response: string) => void sent.push(`${chat}: stop ${response}`),
  }
  sending = new Sending(
    store,
    () => turns,
    (title) => found(title),
  )
})

describe('the first question', () => {
  test('makes its conversation, named by its first words', async () => {
    await sending.send(NEW, 'why?\nand how?')
    expect(sent).toEqual(['conv_1: why?\nand how?'])
    expect(store.state.sidebar.entries).toEqual([{ id: 'conv_1', title: 'why?' }])
  })

  test('stays when the conversation could not be made, and makes it when sent again', async () => {
    const works = found
    found = () => Promise.reject(new ApiError(503, 'service_unavailable', 'later'))
    await sending.send(NEW, 'why?')
    const [chat] = store.state.sidebar.entries
    const [message] = store.chat(chat!.id).messages
    expect(message).toMatchObject({ status: 'unsent', failure: { code: 'service_unavailable' } })

    found = works
    await sending.retry(chat!.id, message!.id)
    expect(sent).toEqual(['conv_1: why?'])
    expect(store.chat('conv_1').messages).toHaveLength(1)
  })
})

describe('a question', () => {
  test('that finds no connection stays to be sent again', async () => {
    reachable = false
    await sending.send('conv_1', 'why?')
    const [message] = store.chat('conv_1').messages
    expect(message).toMatchObject({ status: 'unsent', failure: { code: 'unreachable' } })

    reachable = true
    await sending.retry('conv_1', message!.id)
    expect(sent).toEqual(['conv_1: why?'])
  })

  test('of blanks is not sent', async () => {
    await sending.send('conv_1', ' \n ')
    expect(sent).toEqual([])
  })

  test('is not sent while another is being answered', async () => {
    await sending.send('conv_1', 'one')
    await sending.send('conv_1', 'two')
    expect(sent).toEqual(['conv_1: one'])
  })

  test('larger than a frame is refused before anything is sent', async () => {
    await sending.send('conv_1', '长'.repeat(30_000))
    expect(store.chat('conv_1').messages[0]?.failure?.code).toBe('too_large')
    expect(sent).toEqual([])
  })
})

describe('a stop', () => {
  test('goes out at once when the response has a name, and only once', async () => {
    await sending.send('conv_1', 'why?')
    store.inChat('conv_1', created)
    sending.stop('conv_1')
    sending.stop('conv_1')
    expect(sent).toEqual(['conv_1: why?', 'conv_1: stop resp_1'])
  })

  test('that comes earlier goes out as soon as the response has a name', async () => {
    await sending.send('conv_1', 'why?')
    sending.stop('conv_1')
    expect(sent).toHaveLength(1)
    store.inChat('conv_1', created)
    sending.named('conv_1', created)
    expect(sent.at(-1)).toBe('conv_1: stop resp_1')
  })

  test('after the end does nothing', async () => {
    await sending.send('conv_1', 'why?')
    store.inChat('conv_1', created)
    store.inChat('conv_1', completed())
    sending.stop('conv_1')
    expect(sent).toHaveLength(1)
  })
})
