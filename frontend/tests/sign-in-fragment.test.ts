import { expect, test } from 'vitest'
import { parseFragment } from '../src/app/sign-in-fragment'

test.each(['invite', 'reset'] as const)('a link of the kind %s carries its token', (kind) => {
  expect(parseFragment(`#${kind}=pi_a-b_c`)).toEqual({ link: { kind, token: 'pi_a-b_c' } })
})

test('a truncated link is still a link, so that the visitor sees the error', () => {
  expect(parseFragment('#invite=')).toEqual({ link: { kind: 'invite', token: '' } })
})

test.each(['openid_state', 'openid_refused', 'openid_no_account', 'openid_unavailable'])(
  'the login error %s becomes a notice',
  (code) => expect(parseFragment(`#login-error=${code}`)).toEqual({ notice: code }),
)

test('an unknown error in the URL is not shown on the page', () => {
  expect(parseFragment('#login-error=Call+this+number')).toEqual({ notice: 'openid_failed' })
})

test.each(['', '#', '#somewhere', '#xinvite=a', '#invite'])(
  'the fragment "%s" carries nothing',
  (fragment) => expect(parseFragment(fragment)).toBeNull(),
)
