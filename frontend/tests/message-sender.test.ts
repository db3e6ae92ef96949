import { beforeEach, describe, expect, test, vi } from 'vitest'
import { MessageSender, type SenderApi, type TurnTransport } from '../src/app/message-sender'
import { Store } from '../src/app/store.svelte'
import { NEW } from '../src/state/state'
import { ApiError } from '../src/api/http'
import { completed, created } from './fixtures'

let store: Store
let sent: string[]
let ids: string[]
let reachable: boolean
let hasSocket: boolean
let failure: ApiError | null
let sender: MessageSender

beforeEach(() => {
  store = new Store()
  sent = []
  ids = []
  reachable = true
  hasSocket = true
  failure = null
  const transport: TurnTransport = {
    create: async (chat, { text, clientMessageId }) => {
      ids.push(clientMessageId)
      if (reachable) sent.push(`${chat}: ${text}`)
      return reachable
    },
    cancel: (chat, response) => {
      if (hasSocket) sent.push(`${chat}: stop ${response}`)
      return hasSocket
    },
  }
  const api: SenderApi = {
    createConversation: async () => {
      if (failure !== null) throw failure
      return { id: 'conv_1', created_at: 0, metadata: {} }
    },
    cancelResponse: async (response) => {
      if (failure !== null) throw failure
      sent.push(`stop ${response} by HTTP`)
    },
  }
  sender = new MessageSender(store, () => transport, api)
})

describe('the first question', () => {
  test('creates its conversation, titled with its first words', async () => {
    await sender.send(NEW, 'why?\nand how?')
    expect(sent).toEqual(['conv_1: why?\nand how?'])
    expect(store.state.sidebar.entries).toEqual([{ id: 'conv_1', title: 'why?' }])
  })

  test('stays when the conversation could not be created, and creates it when sent again', async () => {
    failure = new ApiError(503, 'service_unavailable', 'later')
    await sender.send(NEW, 'why?')
    const [chat] = store.state.sidebar.entries
    const [message] = store.chat(chat!.id).messages
    expect(message).toMatchObject({ status: 'unsent', failure: { code: 'service_unavailable' } })

    failure = null
    await sender.retry(chat!.id, message!.id)
    expect(sent).toEqual(['conv_1: why?'])
    expect(store.chat('conv_1').messages).toHaveLength(1)
  })
})

describe('a question', () => {
  test('without a connection stays to be sent again', async () => {
    reachable = false
    await sender.send('conv_1', 'why?')
    const [message] = store.chat('conv_1').messages
    expect(message).toMatchObject({ status: 'unsent', failure: { code: 'unreachable' } })

    reachable = true
    await sender.retry('conv_1', message!.id)
    expect(sent).toEqual(['conv_1: why?'])
  })

  test('that is sent again keeps its message id', async () => {
    reachable = false
    await sender.send('conv_1', 'why?')
    await sender.retry('conv_1', store.chat('conv_1').messages[0]!.id)
    await sender.send('conv_1', 'why?')
    expect(ids[1]).toBe(ids[0])
    expect(ids[2]).not.toBe(ids[0])
  })

  test('of whitespace is not sent', async () => {
    await sender.send('conv_1', ' \n ')
    expect(sent).toEqual([])
  })

  test('is not sent while another is being answered', async () => {
    await sender.send('conv_1', 'one')
    await sender.send('conv_1', 'two')
    expect(sent).toEqual(['conv_1: one'])
  })

  test('larger than a frame is rejected before anything is sent', async () => {
    await sender.send('conv_1', '长'.repeat(30_000))
    expect(store.chat('conv_1').messages[0]?.failure?.code).toBe('too_large')
    expect(sent).toEqual([])
  })
})

describe('a stop', () => {
  test('is sent at once if the response has an id, and only once', async () => {
    await sender.send('conv_1', 'why?')
    store.dispatchToChat('conv_1', created)
    sender.stop('conv_1')
    sender.stop('conv_1')
    expect(sent).toEqual(['conv_1: why?', 'conv_1: stop resp_1'])
  })

  test('requested earlier is sent as soon as the response has an id', async () => {
    await sender.send('conv_1', 'why?')
    sender.stop('conv_1')
    expect(sent).toHaveLength(1)
    store.dispatchToChat('conv_1', created)
    sender.sendPendingStop('conv_1')
    expect(sent.at(-1)).toBe('conv_1: stop resp_1')
  })

  test('is sent by HTTP without a socket', async () => {
    await sender.send('conv_1', 'why?')
    store.dispatchToChat('conv_1', created)
    store.dispatchToChat('conv_1', { type: 'turn.lost' })
    hasSocket = false
    sender.stop('conv_1')
    expect(sent.at(-1)).toBe('stop resp_1 by HTTP')
  })

  test('that failed is shown and announced until it is requested again', async () => {
    await sender.send('conv_1', 'why?')
    store.dispatchToChat('conv_1', created)
    hasSocket = false
    failure = new ApiError(0, 'unreachable', '')
    sender.stop('conv_1')
    await vi.waitFor(() => expect(store.chat('conv_1').turn?.stopping).toBe(false))
    expect(store.chat('conv_1').turn?.stopFailed).toBe(true)
    expect(store.state.announcement).toEqual({ chat: 'conv_1', kind: 'notStopped' })

    failure = null
    sender.stop('conv_1')
    expect(sent.at(-1)).toBe('stop resp_1 by HTTP')
    expect(store.chat('conv_1').turn).toMatchObject({ stopping: true, stopFailed: false })
  })

  test('of a question that may not have arrived is not accepted', async () => {
    await sender.send('conv_1', 'why?')
    store.dispatchToChat('conv_1', { type: 'turn.lost' })
    sender.stop('conv_1')
    expect(store.chat('conv_1').turn?.stopping).toBe(false)
  })

  test('is not sent without a request', async () => {
    await sender.send('conv_1', 'why?')
    store.dispatchToChat('conv_1', created)
    sender.sendPendingStop('conv_1')
    expect(sent).toHaveLength(1)
  })

  test('after the end of the answer does nothing', async () => {
    await sender.send('conv_1', 'why?')
    store.dispatchToChat('conv_1', created)
    store.dispatchToChat('conv_1', completed())
    sender.stop('conv_1')
    expect(sent).toHaveLength(1)
  })
})
