import { createContext } from 'svelte'
import type { Parley } from '../app/parley'

export const [useParley, provideParley] = createContext<Parley>()
