import type { ErrorBody, Item } from './resource'

interface Numbered {
  readonly sequence_number: number
}

export interface ResponseResource {
  readonly id: string
  readonly status: string
  readonly incomplete_details: { readonly reason: string } | null
  readonly error: { readonly code: string; readonly message: string } | null
}

interface ResponseEvent extends Numbered {
  readonly type:
    | 'response.created'
    | 'response.in_progress'
    | 'response.completed'
    | 'response.incomplete'
    | 'response.failed'
  readonly response: ResponseResource
}

interface ItemEvent extends Numbered {
  readonly type: 'response.output_item.added' | 'response.output_item.done'
  readonly item: Item
}

export interface TextDelta extends Numbered {
  readonly type: 'response.output_text.delta'
  readonly item_id: string
  readonly delta: string
}

interface TextDone extends Numbered {
  readonly type: 'response.output_text.done'
  readonly item_id: string
  readonly text: string
}

/** Without a sequence number it answers one client event; with one it announces `response.failed`. */
export interface ErrorEvent extends Partial<Numbered> {
  readonly type: 'error'
  readonly status: number
  readonly error: ErrorBody
}

export type ServerEvent = ResponseEvent | ItemEvent | TextDelta | TextDone | ErrorEvent

const known = new Set<string>([
  'response.created',
  'response.in_progress',
  'response.completed',
  'response.incomplete',
  'response.failed',
  'response.output_item.added',
  'response.output_item.done',
  'response.output_text.delta',
  'response.output_text.done',
  'error',
] satisfies ServerEvent['type'][])

/** Null for what this page does not know: the protocol grows by adding events. */
export function parseEvent(frame: unknown): ServerEvent | null {
  if (typeof frame !== 'string') return null
  try {
    const event = JSON.parse(frame) as ServerEvent | null
    return event !== null && known.has(event.type) ? event : null
  } catch {
    return null
  }
}

/** Whether the turn is over after this event. */
export function endsTurn(event: ServerEvent): boolean {
  return (
    event.type === 'response.completed' ||
    event.type === 'response.incomplete' ||
    event.type === 'response.failed'
  )
}
