import type { ApiError } from '../api/http'
import { accountEn } from './account.en'
import { accountZh } from './account.zh'
import { errorMessage } from './api-errors'
import type { LanguageName, Strings } from './language.svelte'

/** The strings of the account dialog, which are loaded with it. */
export type AccountStrings = typeof accountEn

export const accountDictionaries: Record<LanguageName, AccountStrings> = {
  en: accountEn,
  zh: accountZh,
}

export function accountErrorMessage(
  strings: Strings,
  accountStrings: AccountStrings,
  error: ApiError,
): string {
  switch (error.code) {
    case 'last_administrator':
      return accountStrings.lastAdministrator
    case 'unsuitable_key':
      return accountStrings.unsuitableKey
    default:
      return errorMessage(strings, error)
  }
}
