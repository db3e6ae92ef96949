import type { OneTimeLink, SignInNotice } from '../state/sign-in'

/** What the URL fragment carries: a one-time link, or the error of an OpenID login. */
type SignInFragment = { readonly link: OneTimeLink } | { readonly notice: SignInNotice }

const OPENID_ERRORS: readonly SignInNotice[] = [
  'openid_state',
  'openid_refused',
  'openid_no_account',
  'openid_unavailable',
]

export function parseFragment(fragment: string): SignInFragment | null {
  const [, name, value] = /^#(invite|reset|login-error)=(.*)$/.exec(fragment) ?? []
  switch (name) {
    case 'invite':
    case 'reset':
      // A truncated link is also sent, so that the server's error reaches the visitor.
      return { link: { kind: name, token: value ?? '' } }
    case 'login-error':
      return { notice: OPENID_ERRORS.find((code) => code === value) ?? 'openid_failed' }
    default:
      return null
  }
}
