import type { LanguageName } from './language.svelte'

const locales: Record<LanguageName, string> = { en: 'en-GB', zh: 'zh-CN' }

/** A moment in Unix seconds, in the reader's time zone. */
export function when(language: LanguageName, seconds: number): string {
  const format = new Intl.DateTimeFormat(locales[language], {
    dateStyle: 'medium',
    timeStyle: 'short',
  })
  return format.format(seconds * 1000)
}
