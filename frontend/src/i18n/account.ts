import type { ApiError } from '../api/http'
import { accountEn } from './account.en'
import { accountZh } from './account.zh'
import type { LanguageName, Words } from './language.svelte'
import { whyRefused } from './api-errors'

/** The words of the account's dialog, which are loaded with it. */
export type AccountWords = typeof accountEn

export const accountWords: Record<LanguageName, AccountWords> = { en: accountEn, zh: accountZh }

export function whyRefusedHere(words: Words, own: AccountWords, error: ApiError): string {
  switch (error.code) {
    case 'last_administrator':
      return own.lastAdministrator
    case 'unsuitable_key':
      return own.unsuitableKey
    default:
      return whyRefused(words, error)
  }
}
