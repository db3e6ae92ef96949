import { expect, test } from 'vitest'
import { FormAction } from '../src/app/form-action.svelte'
import { ApiError } from '../src/api/http'

const apiError = new ApiError(400, 'wrong_password', '')
const failing = () => Promise.reject(apiError)

test('a successful request leaves no error', async () => {
  const action = new FormAction()
  expect(await action.run(async () => {})).toBe(true)
  expect(action).toMatchObject({ pending: false, error: null })
})

test('an error is kept until the next attempt, and reported to the callback', async () => {
  const reported: ApiError[] = []
  const action = new FormAction((error) => reported.push(error))
  expect(await action.run(failing)).toBe(false)
  expect(action).toMatchObject({ pending: false, error: apiError })
  expect(reported).toEqual([apiError])
  await action.run(async () => expect(action.error).toBeNull())
})

test('a second run during the first one sends nothing', async () => {
  const action = new FormAction()
  let finish = (): void => {}
  const first = action.run(() => new Promise((resolve) => (finish = resolve)))
  expect(await action.run(failing)).toBe(false)
  finish()
  expect(await first).toBe(true)
})

test('another exception is not handled as an API error', async () => {
  const action = new FormAction()
  await expect(action.run(() => Promise.reject(new TypeError('a bug')))).rejects.toThrow('a bug')
  expect(action.pending).toBe(false)
})
