import type { ApiError } from '../api/http'
import type { SignInNotice } from '../state/sign-in'
import { format } from './format'
import type { Strings } from './language.svelte'

/** Explains an error of the API. An unknown code is explained by the server's message. */
export function errorMessage(strings: Strings, error: ApiError): string {
  switch (error.code) {
    case 'invalid_credentials':
      return strings.wrongCredentials
    case 'wrong_password':
      return strings.wrongPassword
    case 'name_taken':
      return strings.nameTaken
    case 'unsuitable_name':
      return strings.unsuitableName
    case 'unsuitable_password':
      return strings.unsuitablePassword
    case 'invalid_link':
      return strings.invalidLink
    case 'registration_closed':
      return strings.registrationClosed
    case 'not_logged_in':
      return strings.sessionExpired
    case 'foreign_origin':
      return strings.foreignOrigin
    case 'too_many_attempts':
      return retryMessage(error, strings.tooManyAttemptsIn, strings.tooManyAttempts)
    case 'database_unavailable':
      return strings.databaseUnavailable
    default:
      return messageByStatus(strings, error)
  }
}

function messageByStatus(strings: Strings, error: ApiError): string {
  if (error.status === 0) return strings.unreachable
  if (error.status === 429) return retryMessage(error, strings.busyIn, strings.busy)
  if (error.status === 500) return strings.serverError
  if (error.status > 500) return strings.notReady
  return error.message || strings.unknownError
}

function retryMessage({ retryAfterSeconds }: ApiError, timed: string, untimed: string): string {
  return retryAfterSeconds === null ? untimed : format(timed, retryAfterSeconds)
}

type Field = 'username' | 'password' | 'currentPassword'

/** Returns the fields to mark as invalid. */
export function invalidFields(error: ApiError | null): readonly Field[] {
  switch (error?.code) {
    case 'invalid_credentials':
      return ['username', 'password']
    case 'name_taken':
    case 'unsuitable_name':
      return ['username']
    case 'unsuitable_password':
      return ['password']
    case 'wrong_password':
      return ['currentPassword']
    default:
      return []
  }
}

export function noticeMessage(strings: Strings, notice: SignInNotice): string {
  const messages: Record<SignInNotice, string> = {
    password_set: strings.passwordSet,
    openid_state: strings.openidState,
    openid_refused: strings.openidRefused,
    openid_no_account: strings.openidNoAccount,
    openid_unavailable: strings.openidUnavailable,
    openid_failed: strings.openidFailed,
  }
  return messages[notice]
}
