import { MediaQuery } from 'svelte/reactivity'

/** Matches phones and narrow windows, where the sidebar is a drawer. */
export const narrow = new MediaQuery('(max-width: 48rem)')
