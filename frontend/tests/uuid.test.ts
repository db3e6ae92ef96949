import { expect, test } from 'vitest'
import { uuid } from '../src/app/uuid'

test('a UUID is random and of version 4', () => {
  const some = Array.from({ length: 200 }, uuid)
  for (const one of some)
    expect(one).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(new Set(some).size).toBe(200)
})
