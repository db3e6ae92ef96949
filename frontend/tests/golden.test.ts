import { describe, expect, test } from 'vitest'
import { reduceChat } from '../src/state/chat'
import { emptyChat, type Chat } from '../src/state/state'
import { stories, storyEvents } from './golden'

const asked: Chat = reduceChat(
  { ...emptyChat, history: 'ready' },
  { type: 'message.submitted', message: 'message_1', text: 'why?' },
)
const question = { id: 'message_1', role: 'user', text: 'why?', status: 'completed' }

const MESSAGE = 'msg_00000002000000000000000000000002'

function after(story: string): Chat {
  return storyEvents(story).reduce(reduceChat, asked)
}

/** Returns the messages of the answer and the context window after a story. */
function answer(story: string) {
  const { messages, turn, window } = after(story)
  expect(turn).toBeNull()
  expect(messages[0]).toEqual(question)
  return { messages: messages.slice(1), window }
}

const answerMessage = { id: MESSAGE, role: 'assistant' }

describe('after the story', () => {
  test('of a text, the text is shown', () => {
    expect(answer('text')).toEqual({
      messages: [{ ...answerMessage, text: '你好！很高兴见到你。', status: 'completed' }],
      window: { leftOut: 0, usedTokens: 35, contextTokens: 4096 },
    })
  })

  test('of an answer at its output limit, the text is shown with that reason', () => {
    expect(answer('length').messages).toEqual([
      {
        ...answerMessage,
        text: 'One, two, three',
        status: 'incomplete',
        incompleteReason: 'length',
      },
    ])
  })

  test('of a stopped answer, the text is shown with the duration of the stop', () => {
    expect(answer('stopped').messages).toEqual([
      {
        ...answerMessage,
        text: 'Once upon a time',
        status: 'incomplete',
        incompleteReason: 'stopped',
        stoppedInMs: 12,
      },
    ])
  })

  test('of an answer that failed before its first text, the failure is shown', () => {
    expect(answer('failed-at-once').messages).toEqual([
      {
        id: 'nothing-resp_00000000000000000000000000000001',
        role: 'assistant',
        text: '',
        status: 'incomplete',
        incompleteReason: 'failed',
        failure: {
          code: 'service_unavailable',
          message: 'vllm is not reachable at the moment; try again',
        },
      },
    ])
  })

  test('of an answer that failed halfway, the text is shown with the failure', () => {
    expect(answer('failed-in-the-middle').messages).toEqual([
      {
        ...answerMessage,
        text: 'The answer is',
        status: 'incomplete',
        incompleteReason: 'failed',
        failure: {
          code: 'model_error',
          message: 'the stream ended without a finish reason',
        },
      },
    ])
  })

  test('of a function call, the text and the call are shown in order', () => {
    expect(answer('function-call').messages).toEqual([
      { ...answerMessage, text: 'Let me look.', status: 'completed' },
      {
        id: 'fc_00000003000000000000000000000002',
        role: 'assistant',
        step: 'function_call',
        name: 'get_weather',
        text: '{"city": "北京"}',
        status: 'completed',
      },
    ])
  })

  test('of reasoning, the reasoning is separate from the text', () => {
    expect(answer('reasoning').messages).toEqual([
      {
        id: 'rs_00000002000000000000000000000002',
        role: 'assistant',
        step: 'reasoning',
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

  test('of a warm-up, nothing is shown', () => {
    expect(answer('warm-up').messages).toEqual([])
  })

  test('of a long conversation, the number of items left out is known', () => {
    expect(answer('left-out').window).toEqual({
      leftOut: 6,
      usedTokens: 3793,
      contextTokens: 4096,
    })
  })

  test('of a rejected turn, the question can be sent again', () => {
    const { messages, turn } = after('refused')
    expect(turn).toBeNull()
    expect(messages).toMatchObject([
      { id: 'message_1', status: 'unsent', failure: { code: 'too_many_requests' } },
    ])
  })
})

test('the context window is known before the first text', () => {
  const begun = storyEvents('left-out').slice(0, 2).reduce(reduceChat, asked)
  expect(begun.window).toEqual({ leftOut: 6, usedTokens: 3790, contextTokens: 4096 })
})

test.each(stories)('the events of %s are numbered from 0, or reply to no turn', (story) => {
  const numbers = storyEvents(story).map((event) => event.sequence_number)
  const without = numbers.length === 1 && numbers[0] === undefined
  expect(without || numbers.every((number, index) => number === index)).toBe(true)
})

test.each(stories)('a replay of %s duplicates no text', (story) => {
  const once = after(story)
  const chat = { ...once, turn: once.turn ?? { ...asked.turn! } }
  const texts = ({ messages }: Chat) => messages.map(({ id, text }) => [id, text])
  expect(texts(storyEvents(story).reduce(reduceChat, chat))).toEqual(texts(once))
})
