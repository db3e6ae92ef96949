import type { ErrorBody, Item } from './resources'

interface Sequenced {
  readonly sequence_number: number
}

/** How much of the conversation the model received; null if the server does not know. */
interface WindowUsage {
  readonly items_left_out: number
  readonly input_tokens: number | null
  readonly context_tokens: number | null
}

export interface ResponseResource {
  readonly id: string
  readonly status: string
  readonly incomplete_details: {
    readonly reason: string
    readonly stopped_in_ms?: number
  } | null
  readonly error: { readonly code: string; readonly message: string } | null
  readonly usage?: { readonly output_tokens: number } | null
  readonly window?: WindowUsage | null
}

interface ResponseEvent extends Sequenced {
  readonly type:
    | 'response.created'
    | 'response.in_progress'
    | 'response.completed'
    | 'response.incomplete'
    | 'response.failed'
  readonly response: ResponseResource
}

interface ItemEvent extends Sequenced {
  readonly type: 'response.output_item.added' | 'response.output_item.done'
  readonly item: Item
}

/** A piece of text, of reasoning, or of a function call's arguments. */
export interface Delta extends Sequenced {
  readonly type:
    | 'response.output_text.delta'
    | 'response.reasoning_text.delta'
    | 'response.function_call_arguments.delta'
  readonly item_id: string
  readonly delta: string
}

/** Without a sequence number it replies to a client event; with one it precedes `response.failed`. */
export interface ErrorEvent extends Partial<Sequenced> {
  readonly type: 'error'
  readonly status: number
  readonly error: ErrorBody
}

/** An event that the page does not use. Its sequence number still counts. */
interface OtherEvent extends Partial<Sequenced> {
  readonly type: 'other'
}

export type ServerEvent = ResponseEvent | ItemEvent | Delta | ErrorEvent | OtherEvent

const knownTypes = new Set<string>([
  'response.created',
  'response.in_progress',
  'response.completed',
  'response.incomplete',
  'response.failed',
  'response.output_item.added',
  'response.output_item.done',
  'response.output_text.delta',
  'response.reasoning_text.delta',
  'response.function_call_arguments.delta',
  'error',
] satisfies ServerEvent['type'][])

/** Returns null if the frame is not an event. */
export function parseEvent(frame: unknown): ServerEvent | null {
  if (typeof frame !== 'string') return null
  try {
    const event = JSON.parse(frame) as { type?: unknown; sequence_number?: number } | null
    if (typeof event?.type !== 'string') return null
    if (knownTypes.has(event.type)) return event as ServerEvent
    const { sequence_number } = event
    return { type: 'other', ...(sequence_number !== undefined && { sequence_number }) }
  } catch {
    return null
  }
}

export function isDelta(event: ServerEvent): event is Delta {
  return event.type.endsWith('.delta')
}

/** Returns true for the last event of a turn. */
export function endsTurn(event: ServerEvent): boolean {
  return (
    event.type === 'response.completed' ||
    event.type === 'response.incomplete' ||
    event.type === 'response.failed'
  )
}
