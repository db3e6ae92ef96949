import { describe, expect, test } from 'vitest'
import { reduceChat } from '../src/state/chat'
import { emptyChat, type Chat } from '../src/state/state'
import { stories, told } from './golden'

const asked: Chat = reduceChat(
  { ...emptyChat, history: 'ready' },
  { type: 'message.submitted', message: 'message_1', text: 'why?' },
)
const question = { id: 'message_1', role: 'user', text: 'why?', status: 'completed' }

const MESSAGE = 'msg_00000002000000000000000000000002'

function after(story: string): Chat {
  return told(story).reduce(reduceChat, asked)
}

/** What is shown of the answer, and what else the story leaves behind. */
function answer(story: string) {
  const { messages, turn, window } = after(story)
  expect(turn).toBeNull()
  expect(messages[0]).toEqual(question)
  return { messages: messages.slice(1), window }
}

const said = { id: MESSAGE, role: 'assistant' }

describe('after the story', () => {
  test('of a text, the text is there', () => {
    expect(answer('text')).toEqual({
      messages: [{ ...said, text: '你好！很高兴见到你。', status: 'completed' }],
      window: { leftOut: 0, usedTokens: 35, contextTokens: 4096 },
    })
  })

  test('of an answer at its limit, the text is there and says so', () => {
    expect(answer('length').messages).toEqual([
      { ...said, text: 'One, two, three', status: 'incomplete', shortened: 'length' },
    ])
  })

  test('of a stopped one, the text is there with the time that the stop took', () => {
    expect(answer('stopped').messages).toEqual([
      {
        ...said,
        text: 'Once upon a time',
        status: 'incomplete',
        shortened: 'stopped',
        stoppedInMs: 12,
      },
    ])
  })

  test('of one that failed before its first word, there is a trace of it', () => {
    expect(answer('failed-at-once').messages).toEqual([
      {
        id: 'nothing-resp_00000000000000000000000000000001',
        role: 'assistant',
        text: '',
        status: 'incomplete',
        shortened: 'failed',
        failure: {
          code: 'service_unavailable',
          message: 'vllm is not reachable at the moment; try again',
        },
      },
    ])
  })

  test('of one that failed in the middle, the text is there with the reason', () => {
    expect(answer('failed-in-the-middle').messages).toEqual([
      {
        ...said,
        text: 'The answer is',
        status: 'incomplete',
        shortened: 'failed',
        failure: {
          code: 'model_error',
          message: 'the stream ended without a finish reason',
        },
      },
    ])
  })

  test('of a call, the text and the call are there, one after the other', () => {
    expect(answer('function-call').messages).toEqual([
      { ...said, text: 'Let me look.', status: 'completed' },
      {
        id: 'fc_00000003000000000000000000000002',
        role: 'assistant',
        aside: 'call',
        name: 'get_weather',
        text: '{"city": "北京"}',
        status: 'completed',
      },
    ])
  })

  test('of reasoning, the thought is apart from the text', () => {
    expect(answer('reasoning').messages).toEqual([
      {
        id: 'rs_00000002000000000000000000000002',
        role: 'assistant',
        aside: 'thought',
        text: 'The user greets me. I greet back.',
        status: 'completed',
      },
      {
        id: 'msg_00000003000000000000000000000002',
        role: 'assistant',
        text: 'Hello!',
        status: 'completed',
      },
    ])
  })

  test('of a warm-up, nothing was said', () => {
    expect(answer('warm-up').messages).toEqual([])
  })

  test('of a long conversation, it is known how much was left out', () => {
    expect(answer('left-out').window).toEqual({
      leftOut: 6,
      usedTokens: 3793,
      contextTokens: 4096,
    })
  })

  test('of a refusal, the question can be sent again', () => {
    const { messages, turn } = after('refused')
    expect(turn).toBeNull()
    expect(messages).toMatchObject([
      { id: 'message_1', status: 'unsent', failure: { code: 'too_many_requests' } },
    ])
  })
})

test('the window is known before the first word', () => {
  const begun = told('left-out').slice(0, 2).reduce(reduceChat, asked)
  expect(begun.window).toEqual({ leftOut: 6, usedTokens: 3790, contextTokens: 4096 })
})

test.each(stories)('%s begins with a number, or answers no turn', (story) => {
  const numbers = told(story).map((event) => event.sequence_number)
  const without = numbers.length === 1 && numbers[0] === undefined
  expect(without || numbers.every((number, index) => number === index)).toBe(true)
})

test.each(stories)('%s is told twice without a word being doubled', (story) => {
  const once = after(story)
  const chat = { ...once, turn: once.turn ?? { ...asked.turn! } }
  const texts = ({ messages }: Chat) => messages.map(({ id, text }) => [id, text])
  expect(texts(told(story).reduce(reduceChat, chat))).toEqual(texts(once))
})
