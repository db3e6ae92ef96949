import type { LanguageName } from './language.svelte'

const locales: Record<LanguageName, string> = { en: 'en-GB', zh: 'zh-CN' }

/** Formats Unix seconds in the browser's time zone. */
export function formatDateTime(language: LanguageName, seconds: number): string {
  const format = new Intl.DateTimeFormat(locales[language], {
    dateStyle: 'medium',
    timeStyle: 'short',
  })
  return format.format(seconds * 1000)
}
