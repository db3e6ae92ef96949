import { expect, test } from 'vitest'
import { arrivalAt } from '../src/app/sign-in-fragment'

test.each(['invite', 'reset'] as const)('a link of the kind %s brings its token', (kind) => {
  expect(arrivalAt(`#${kind}=pi_a-b_c`)).toEqual({ link: { kind, token: 'pi_a-b_c' } })
})

test('a link that lost its end is a link all the same, so that its visitor hears of it', () => {
  expect(arrivalAt('#invite=')).toEqual({ link: { kind: 'invite', token: '' } })
})

test.each(['openid_state', 'openid_refused', 'openid_no_account', 'openid_unavailable'])(
  '%s is remarked',
  (code) => expect(arrivalAt(`#login-error=${code}`)).toEqual({ remark: code }),
)

test('what an address makes up is not repeated on the page', () => {
  expect(arrivalAt('#login-error=Call+this+number')).toEqual({ remark: 'openid_failed' })
})

test.each(['', '#', '#somewhere', '#xinvite=a', '#invite'])('%s brings nothing', (fragment) =>
  expect(arrivalAt(fragment)).toBeNull(),
)
