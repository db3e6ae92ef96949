import type { LoginOptions } from '../api/resources'

/** A one-time link that an administrator has issued. */
export interface OneTimeLink {
  readonly kind: 'invite' | 'reset'
  readonly token: string
}

/** A message above the form that does not come from submitting it. */
export type SignInNotice =
  | 'password_set'
  | 'openid_state'
  | 'openid_refused'
  | 'openid_no_account'
  | 'openid_unavailable'
  | 'openid_failed'

export type SignInForm = 'login' | 'register' | 'first' | 'reset'

export interface SignInState {
  /** Null until the server has answered; until then the login form is shown. */
  readonly options: LoginOptions | null
  readonly link: OneTimeLink | null
  /** True if the visitor prefers registration, where both are possible. */
  readonly registering: boolean
  readonly notice: SignInNotice | null
}

export type SignInEvent =
  | { readonly type: 'signIn.optionsLoaded'; readonly options: LoginOptions }
  | { readonly type: 'signIn.linkOpened'; readonly link: OneTimeLink }
  | { readonly type: 'signIn.failed'; readonly notice: SignInNotice }
  | { readonly type: 'signIn.formSelected'; readonly registering: boolean }
  | { readonly type: 'signIn.passwordReset' }
  | { readonly type: 'signIn.linkDismissed' }

export const initialSignIn: SignInState = {
  options: null,
  link: null,
  registering: false,
  notice: null,
}

export function reduceSignIn(state: SignInState, event: SignInEvent): SignInState {
  switch (event.type) {
    case 'signIn.optionsLoaded':
      return { ...state, options: event.options }
    case 'signIn.linkOpened':
      return { ...state, link: event.link, registering: event.link.kind === 'invite', notice: null }
    case 'signIn.failed':
      return { ...state, notice: event.notice }
    case 'signIn.formSelected':
      return { ...state, registering: event.registering, notice: null }
    case 'signIn.passwordReset':
      return { ...state, link: null, notice: 'password_set' }
    case 'signIn.linkDismissed':
      return { ...state, link: null, registering: false, notice: null }
  }
}

export function currentForm(state: SignInState): SignInForm {
  if (state.link?.kind === 'reset') return 'reset'
  if (state.options?.registration === 'first') return 'first'
  return state.registering && canRegister(state) ? 'register' : 'login'
}

/** An invite counts as valid until the server has answered. */
export function canRegister({ options, link }: SignInState): boolean {
  if (options?.registration === 'open') return true
  return link?.kind === 'invite' && options?.registration !== 'closed'
}

/** Returns true if a one-time link needs its form also during a session. */
export function interruptsSession(state: SignInState): boolean {
  const form = currentForm(state)
  return state.link !== null && (form === 'reset' || form === 'register')
}
