import { lasting } from '../app/storage'

export type ThemeName = 'system' | 'light' | 'dark'

const KEY = 'parley.theme'
const order: readonly ThemeName[] = ['system', 'light', 'dark']

/** `/theme.js` applies the same key before the first paint. */
class Theme {
  name: ThemeName = $state(order.find((name) => name === lasting.read(KEY)) ?? 'system')

  next(): void {
    this.name = order[(order.indexOf(this.name) + 1) % order.length] ?? 'system'
    lasting.write(KEY, this.name === 'system' ? null : this.name)
    if (this.name === 'system') delete document.documentElement.dataset.theme
    else document.documentElement.dataset.theme = this.name
  }
}

export const theme = new Theme()
