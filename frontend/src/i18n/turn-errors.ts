import type { Failure } from '../state/state'
import type { Words } from './language.svelte'

/** Why a question was not sent. What we have no words for is told in the server's. */
export function whyNotSent(words: Words, failure: Failure | undefined): string {
  switch (failure?.code) {
    case 'unreachable':
      return words.notSentOffline
    case 'connection_lost':
      return words.connectionLost
    case 'too_many_requests':
      return words.tooManyRequests
    case 'context_length_exceeded':
    case 'too_large':
      return words.tooLong
    case 'service_unavailable':
      return words.notSentUnavailable
    case 'gateway_leaving':
      return words.notSentLeaving
    case 'storage_full':
      return words.storageFull
    default:
      return [words.notSent, failure?.message].filter(Boolean).join(' ')
  }
}

/** Why an answer broke off. */
export function whyBrokenOff(words: Words, failure: Failure | undefined): string {
  switch (failure?.code) {
    case undefined:
      return words.brokeOff
    case 'service_unavailable':
      return words.brokeOffUnavailable
    case 'gateway_leaving':
      return words.brokeOffLeaving
    case 'storage_full':
      return words.brokeOffStorageFull
    case 'model_error':
      return words.brokeOffModel
    case 'context_length_exceeded':
      return words.brokeOffTooLong
    default:
      return [words.brokeOff, failure?.message].filter(Boolean).join(' ')
  }
}
