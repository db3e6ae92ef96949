import { expect, test } from 'vitest'
import { backoff } from '../src/api/backoff'

test('the delays double up to a limit', () => {
  const delays = [0, 1, 2, 3, 10, 1000].map((attempt) => backoff(attempt, () => 1))
  expect(delays).toEqual([400, 800, 1600, 3200, 20_000, 20_000])
})

test('the delays have jitter, so that pages do not reconnect together', () => {
  expect(backoff(3, () => 0)).toBe(1600)
  expect(backoff(3, () => 1)).toBe(3200)
})
