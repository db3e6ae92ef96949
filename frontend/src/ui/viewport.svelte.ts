import { MediaQuery } from 'svelte/reactivity'

/** A phone, or a window as narrow: the side bar is then a drawer. */
export const narrow = new MediaQuery('(max-width: 48rem)')
