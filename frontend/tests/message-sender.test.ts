import { beforeEach, describe, expect, test, vi } from 'vitest'
import { Sending, type Server, type Turns } from '../src/app/message-sender'
import { Store } from '../src/app/store.svelte'
import { NEW } from '../src/state/state'
import { ApiError } from '../src/api/http'
import { completed, created } from './fixtures'

let store: Store
let sent: string[]
let ids: string[]
let reachable: boolean
let onTheLine: boolean
let failure: ApiError | null
let sending: Sending

beforeEach(() => {
  store = new Store()
  sent = []
  ids = []
  reachable = true
  onTheLine = true
  failure = null
  const turns: Turns = {
    create: async (chat, { text, clientMessageId }) => {
      ids.push(clientMessageId)
      if (reachable) sent.push(`${chat}: ${text}`)
      return reachable
    },
    cancel: (chat, response) => {
      if (onTheLine) sent.push(`${chat}: stop ${response}`)
      return onTheLine
    },
  }
  const server: Server = {
    createConversation: async () => {
      if (failure !== null) throw failure
      return { id: 'conv_1', created_at: 0, metadata: {} }
    },
    cancelResponse: async (response) => {
      if (failure !== null) throw failure
      sent.push(`stop ${response} by HTTP`)
    },
  }
  sending = new Sending(store, () => turns, server)
})

describe('the first question', () => {
  test('makes its conversation, named by its first words', async () => {
    await sending.send(NEW, 'why?\nand how?')
    expect(sent).toEqual(['conv_1: why?\nand how?'])
    expect(store.state.sidebar.entries).toEqual([{ id: 'conv_1', title: 'why?' }])
  })

  test('stays when the conversation could not be made, and makes it when sent again', async () => {
    failure = new ApiError(503, 'service_unavailable', 'later')
    await sending.send(NEW, 'why?')
    const [chat] = store.state.sidebar.entries
    const [message] = store.chat(chat!.id).messages
    expect(message).toMatchObject({ status: 'unsent', failure: { code: 'service_unavailable' } })

    failure = null
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

  test('that is sent again is the same message', async () => {
    reachable = false
    await sending.send('conv_1', 'why?')
    await sending.retry('conv_1', store.chat('conv_1').messages[0]!.id)
    await sending.send('conv_1', 'why?')
    expect(ids[1]).toBe(ids[0])
    expect(ids[2]).not.toBe(ids[0])
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
    sending.remind('conv_1')
    expect(sent.at(-1)).toBe('conv_1: stop resp_1')
  })

  test('goes out by HTTP while there is no line', async () => {
    await sending.send('conv_1', 'why?')
    store.inChat('conv_1', created)
    store.inChat('conv_1', { type: 'turn.lost' })
    onTheLine = false
    sending.stop('conv_1')
    expect(sent.at(-1)).toBe('stop resp_1 by HTTP')
  })

  test('that did not arrive can be asked for again', async () => {
    await sending.send('conv_1', 'why?')
    store.inChat('conv_1', created)
    onTheLine = false
    failure = new ApiError(0, 'unreachable', '')
    sending.stop('conv_1')
    await vi.waitFor(() => expect(store.chat('conv_1').turn?.stopping).toBe(false))
  })

  test('of what may not have arrived has to wait', async () => {
    await sending.send('conv_1', 'why?')
    store.inChat('conv_1', { type: 'turn.lost' })
    sending.stop('conv_1')
    expect(store.chat('conv_1').turn?.stopping).toBe(false)
  })

  test('is not repeated without a wish for it', async () => {
    await sending.send('conv_1', 'why?')
    store.inChat('conv_1', created)
    sending.remind('conv_1')
    expect(sent).toHaveLength(1)
  })

  test('after the end does nothing', async () => {
    await sending.send('conv_1', 'why?')
    store.inChat('conv_1', created)
    store.inChat('conv_1', completed())
    sending.stop('conv_1')
    expect(sent).toHaveLength(1)
  })
})
