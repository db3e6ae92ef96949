import type { ServerEvent } from '../src/api/events'
import type { Item } from '../src/api/resources'

/** Events as the gateway sends them, for tests of a turn. */

const response = { id: 'resp_1', status: 'in_progress', incomplete_details: null, error: null }

export function item(
  id: string,
  role: 'user' | 'assistant',
  text: string,
  status: Item['status'] = 'completed',
): Item {
  const type = role === 'user' ? 'input_text' : 'output_text'
  return { id, type: 'message', role, status, content: text === '' ? [] : [{ type, text }] }
}

export const created: ServerEvent = { type: 'response.created', sequence_number: 0, response }

export const started: readonly ServerEvent[] = [
  created,
  { type: 'response.in_progress', sequence_number: 1, response },
  {
    type: 'response.output_item.added',
    sequence_number: 2,
    item: item('msg_a', 'assistant', '', 'in_progress'),
  },
]

export function delta(text: string, sequence_number = 3): ServerEvent {
  return { type: 'response.output_text.delta', sequence_number, item_id: 'msg_a', delta: text }
}

export function completed(sequence_number = 9): ServerEvent {
  return {
    type: 'response.completed',
    sequence_number,
    response: { ...response, status: 'completed' },
  }
}

export function incomplete(reason: string): ServerEvent {
  const cut = { ...response, status: 'incomplete', incomplete_details: { reason } }
  return { type: 'response.incomplete', sequence_number: 9, response: cut }
}

export function failed(code: string, message: string): ServerEvent {
  const broken = { ...response, status: 'failed', error: { code, message } }
  return { type: 'response.failed', sequence_number: 9, response: broken }
}

export function refusal(code: string, status = 429): ServerEvent {
  return { type: 'error', status, error: { type: code, code, message: 'no', param: null } }
}
