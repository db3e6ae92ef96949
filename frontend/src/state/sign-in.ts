import type { Options } from '../api/resources'

/** A one-time link that an administrator has given somebody. */
export interface Link {
  readonly kind: 'invite' | 'reset'
  readonly token: string
}

/** What there is to say to somebody who comes in, besides what went wrong with the form. */
export type Remark =
  | 'password_set'
  | 'openid_state'
  | 'openid_refused'
  | 'openid_no_account'
  | 'openid_unavailable'
  | 'openid_failed'

export type Form = 'login' | 'register' | 'first' | 'reset'

/** What is known at the way into the page. */
export interface Doorway {
  /** Null until the server has told: until then one can log in. */
  readonly options: Options | null
  readonly link: Link | null
  /** Whether the visitor wants an account, where there is a choice. */
  readonly registering: boolean
  readonly remark: Remark | null
}

export type EntryEvent =
  | { readonly type: 'entry.offered'; readonly options: Options }
  | { readonly type: 'entry.linked'; readonly link: Link }
  | { readonly type: 'entry.refused'; readonly remark: Remark }
  | { readonly type: 'entry.chosen'; readonly registering: boolean }
  | { readonly type: 'entry.reset' }
  | { readonly type: 'entry.declined' }

export const unknownDoorway: Doorway = {
  options: null,
  link: null,
  registering: false,
  remark: null,
}

export function reduceEntry(entry: Doorway, event: EntryEvent): Doorway {
  switch (event.type) {
    case 'entry.offered':
      return { ...entry, options: event.options }
    case 'entry.linked':
      return { ...entry, link: event.link, registering: event.link.kind === 'invite', remark: null }
    case 'entry.refused':
      return { ...entry, remark: event.remark }
    case 'entry.chosen':
      return { ...entry, registering: event.registering, remark: null }
    case 'entry.reset':
      return { ...entry, link: null, remark: 'password_set' }
    case 'entry.declined':
      return { ...entry, link: null, registering: false, remark: null }
  }
}

export function formOf(entry: Doorway): Form {
  if (entry.link?.kind === 'reset') return 'reset'
  if (entry.options?.registration === 'first') return 'first'
  return entry.registering && mayRegister(entry) ? 'register' : 'login'
}

/** Before the server has told, an invite is believed. */
export function mayRegister({ options, link }: Doorway): boolean {
  if (options?.registration === 'open') return true
  return link?.kind === 'invite' && options?.registration !== 'closed'
}

/** Whether a link asks somebody who is logged in to do something first. */
export function interrupts(entry: Doorway): boolean {
  const form = formOf(entry)
  return entry.link !== null && (form === 'reset' || form === 'register')
}
