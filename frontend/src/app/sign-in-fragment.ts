import type { Link, Remark } from '../state/sign-in'

/** What the address says behind `#`, which no server has seen. */
export type Arrival = { readonly link: Link } | { readonly remark: Remark }

const REMARKS: readonly Remark[] = [
  'openid_state',
  'openid_refused',
  'openid_no_account',
  'openid_unavailable',
]

export function arrivalAt(fragment: string): Arrival | null {
  const [, name, value] = /^#(invite|reset|login-error)=(.*)$/.exec(fragment) ?? []
  switch (name) {
    case 'invite':
    case 'reset':
      // A link that lost its end is the server's to refuse, so that somebody hears of it.
      return { link: { kind: name, token: value ?? '' } }
    case 'login-error':
      return { remark: REMARKS.find((remark) => remark === value) ?? 'openid_failed' }
    default:
      return null
  }
}
