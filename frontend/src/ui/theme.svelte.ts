import { safeLocalStorage } from './storage'

type ThemeName = 'system' | 'light' | 'dark'

const STORAGE_KEY = 'parley.theme'
const themes: readonly ThemeName[] = ['system', 'light', 'dark']

/** `/theme.js` applies the same storage key before the first paint. */
class Theme {
  name: ThemeName = $state(
    themes.find((name) => name === safeLocalStorage.read(STORAGE_KEY)) ?? 'system',
  )

  next(): void {
    this.name = themes[(themes.indexOf(this.name) + 1) % themes.length] ?? 'system'
    safeLocalStorage.write(STORAGE_KEY, this.name === 'system' ? null : this.name)
    if (this.name === 'system') delete document.documentElement.dataset.theme
    else document.documentElement.dataset.theme = this.name
  }
}

export const theme = new Theme()
