export interface Question {
  readonly text: string
  /** Stays the same when the message is sent again: the server accepts it only once. */
  readonly clientMessageId: string
}

/** A turn that has a socket. */
export interface ActiveTurn {
  readonly chat: string
  /** Null until the server has assigned an id. */
  responseId: string | null
  /** The last event received, -1 before the first one. */
  lastSequenceNumber: number
  /** True once the request may have reached the server. */
  sent: boolean
  /** True from the moment a resuming socket opens until its first event. */
  resuming: boolean
  silenceTimer?: ReturnType<typeof setTimeout>
}

/** Without a response id the turn is still to be requested; with one it runs on the server. */
export function newTurn(chat: string, responseId: string | null): ActiveTurn {
  const sent = responseId !== null
  return { chat, responseId, lastSequenceNumber: -1, sent, resuming: false }
}

/** The client event that starts a turn. */
export function createEvent(conversation: string, { text, clientMessageId }: Question): object {
  return {
    type: 'response.create',
    conversation,
    input: text,
    metadata: { client_message_id: clientMessageId },
    // A conversation that outgrows the context window continues without its oldest turns.
    truncation: 'auto',
  }
}

/** The query that resumes a response after its last event; empty if there is nothing to resume. */
export function resumeQuery(turn: ActiveTurn | undefined): string {
  if (!turn?.responseId) return ''
  const after = turn.lastSequenceNumber < 0 ? '' : `&starting_after=${turn.lastSequenceNumber}`
  return `?resume=${encodeURIComponent(turn.responseId)}${after}`
}
