export interface Question {
  readonly text: string
  /** The same again for the same message: the server takes it once. */
  readonly clientMessageId: string
}

/** A turn and the line that carries it. */
export interface Call {
  readonly chat: string
  /** Null until the server has named the response. */
  responseId: string | null
  /** The number of the last event heard, -1 before the first. */
  last: number
  /** Whether the server may know of it. */
  sent: boolean
  /** From the opening of a line that resumes until its first event. */
  resuming: boolean
  silence?: ReturnType<typeof setTimeout>
}

/** The client event that starts a turn. */
export function creation(conversation: string, { text, clientMessageId }: Question): object {
  return {
    type: 'response.create',
    conversation,
    input: text,
    metadata: { client_message_id: clientMessageId },
    // A conversation that outgrows the model goes on without its oldest turns.
    truncation: 'auto',
  }
}

/** The query of a line that goes on behind the last event, empty for a line that begins anew. */
export function resumption(call: Call | undefined): string {
  if (!call?.responseId) return ''
  const after = call.last < 0 ? '' : `&starting_after=${call.last}`
  return `?resume=${encodeURIComponent(call.responseId)}${after}`
}
