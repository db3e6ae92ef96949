import { FormAction } from '../../app/form-action.svelte'
import { useParley } from '../context'

/** Creates an action that checks the session after a 401, and closes the page if it has ended. */
export function useFormAction(): FormAction {
  const parley = useParley()
  return new FormAction((error) => {
    if (error.status === 401) void parley.checkSession()
  })
}
