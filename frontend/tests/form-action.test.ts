import { expect, test } from 'vitest'
import { Errand } from '../src/app/form-action.svelte'
import { ApiError } from '../src/api/http'

const refusal = new ApiError(400, 'wrong_password', '')
const refused = () => Promise.reject(refusal)

test('what is done has no failure', async () => {
  const errand = new Errand()
  expect(await errand.run(async () => {})).toBe(true)
  expect(errand).toMatchObject({ busy: false, failure: null })
})

test('a refusal is kept until the next try, and whoever wants to know is told', async () => {
  const told: ApiError[] = []
  const errand = new Errand((error) => told.push(error))
  expect(await errand.run(refused)).toBe(false)
  expect(errand).toMatchObject({ busy: false, failure: refusal })
  expect(told).toEqual([refusal])
  await errand.run(async () => expect(errand.failure).toBeNull())
})

test('a button that is pressed twice asks once', async () => {
  const errand = new Errand()
  let finish = (): void => {}
  const first = errand.run(() => new Promise((resolve) => (finish = resolve)))
  expect(await errand.run(refused)).toBe(false)
  finish()
  expect(await first).toBe(true)
})

test('a fault of the page is not taken for a refusal', async () => {
  const errand = new Errand()
  await expect(errand.run(() => Promise.reject(new TypeError('a fault')))).rejects.toThrow(
    'a fault',
  )
  expect(errand.busy).toBe(false)
})
