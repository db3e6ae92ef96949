import { lasting } from '../app/storage'
import { en } from './en'
import { zh } from './zh'

export type Words = typeof en
export type LanguageName = 'en' | 'zh'

const KEY = 'parley.language'
const dictionaries: Record<LanguageName, Words> = { en, zh }

function preferred(): LanguageName {
  const chosen = lasting.read(KEY)
  if (chosen === 'en' || chosen === 'zh') return chosen
  return navigator.languages
    .find((tag) => /^(en|zh)\b/i.test(tag))
    ?.toLowerCase()
    .startsWith('zh')
    ? 'zh'
    : 'en'
}

/** The language of the page, not of the chats. */
class Language {
  name: LanguageName = $state(preferred())
  readonly words: Words = $derived(dictionaries[this.name])

  switch(): void {
    this.name = this.name === 'en' ? 'zh' : 'en'
    lasting.write(KEY, this.name)
  }
}

export const language = new Language()
