import type { Failure } from '../state/state'
import type { Strings } from './language.svelte'

/** Explains why a question was not sent. An unknown code is explained by the server's message. */
export function notSentMessage(strings: Strings, failure: Failure | undefined): string {
  switch (failure?.code) {
    case 'unreachable':
      return strings.notSentUnreachable
    case 'connection_lost':
      return strings.notSentConnectionLost
    case 'too_many_requests':
      return strings.notSentTooManyRequests
    case 'context_length_exceeded':
    case 'too_large':
      return strings.notSentTooLong
    case 'service_unavailable':
      return strings.notSentUnavailable
    case 'gateway_leaving':
      return strings.notSentRestarting
    case 'storage_full':
      return strings.notSentStorageFull
    default:
      return [strings.notSent, failure?.message].filter(Boolean).join(' ')
  }
}

/** Explains why an answer was interrupted. */
export function interruptedMessage(strings: Strings, failure: Failure | undefined): string {
  switch (failure?.code) {
    case undefined:
      return strings.interrupted
    case 'service_unavailable':
      return strings.interruptedUnavailable
    case 'gateway_leaving':
      return strings.interruptedRestarting
    case 'storage_full':
      return strings.interruptedStorageFull
    case 'model_error':
      return strings.interruptedModelError
    case 'context_length_exceeded':
      return strings.interruptedTooLong
    default:
      return [strings.interrupted, failure?.message].filter(Boolean).join(' ')
  }
}
