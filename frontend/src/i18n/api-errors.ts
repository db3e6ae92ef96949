import type { Remark } from '../state/sign-in'
import type { ApiError } from '../api/http'
import { filled } from './format'
import type { Words } from './language.svelte'

/** Why the server did not do what was asked of it. What we have no words for is told in its own. */
export function whyRefused(words: Words, error: ApiError): string {
  switch (error.code) {
    case 'invalid_credentials':
      return words.wrongCredentials
    case 'wrong_password':
      return words.wrongPassword
    case 'name_taken':
      return words.nameTaken
    case 'unsuitable_name':
      return words.unsuitableName
    case 'unsuitable_password':
      return words.unsuitablePassword
    case 'invalid_link':
      return words.invalidLink
    case 'registration_closed':
      return words.registrationClosed
    case 'not_logged_in':
      return words.sessionOver
    case 'foreign_origin':
      return words.foreignOrigin
    case 'too_many_attempts':
      return later(error, words.tooManyIn, words.tooMany)
    case 'database_unavailable':
      return words.databaseAway
    default:
      return byStatus(words, error)
  }
}

function byStatus(words: Words, error: ApiError): string {
  if (error.status === 0) return words.unreachable
  if (error.status === 429) return later(error, words.busyIn, words.busy)
  if (error.status === 500) return words.serverFailed
  if (error.status > 500) return words.notReady
  return error.message || words.didNotWork
}

function later({ retryAfterSeconds }: ApiError, soon: string, sometime: string): string {
  return retryAfterSeconds === null ? sometime : filled(soon, retryAfterSeconds)
}

export type Field = 'username' | 'password' | 'current'

/** The fields that are to be filled in otherwise. */
export function atFault(error: ApiError | null): readonly Field[] {
  switch (error?.code) {
    case 'invalid_credentials':
      return ['username', 'password']
    case 'name_taken':
    case 'unsuitable_name':
      return ['username']
    case 'unsuitable_password':
      return ['password']
    case 'wrong_password':
      return ['current']
    default:
      return []
  }
}

export function remarkIn(words: Words, remark: Remark): string {
  const said: Record<Remark, string> = {
    password_set: words.passwordSet,
    openid_state: words.openidState,
    openid_refused: words.openidRefused,
    openid_no_account: words.openidNoAccount,
    openid_unavailable: words.openidUnavailable,
    openid_failed: words.openidFailed,
  }
  return said[remark]
}
