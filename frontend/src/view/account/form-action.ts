import { Errand } from '../../app/form-action.svelte'
import { useParley } from '../context'

/** One whose refusal may mean that the session is over: then the page closes. */
export function useErrand(): Errand {
  const parley = useParley()
  return new Errand((error) => {
    if (error.status === 401) void parley.check()
  })
}
