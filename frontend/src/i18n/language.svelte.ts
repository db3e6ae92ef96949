import { safeLocalStorage } from '../ui/storage'
import { en } from './en'
import { zh } from './zh'

export type Strings = typeof en
export type LanguageName = 'en' | 'zh'

const STORAGE_KEY = 'parley.language'
const dictionaries: Record<LanguageName, Strings> = { en, zh }

function preferredLanguage(): LanguageName {
  const stored = safeLocalStorage.read(STORAGE_KEY)
  if (stored === 'en' || stored === 'zh') return stored
  return navigator.languages
    .find((tag) => /^(en|zh)\b/i.test(tag))
    ?.toLowerCase()
    .startsWith('zh')
    ? 'zh'
    : 'en'
}

/** The language of the page; the chats may be in any language. */
class Language {
  name: LanguageName = $state(preferredLanguage())
  readonly strings: Strings = $derived(dictionaries[this.name])

  toggle(): void {
    this.name = this.name === 'en' ? 'zh' : 'en'
    safeLocalStorage.write(STORAGE_KEY, this.name)
  }
}

export const language = new Language()
