import { beforeEach, expect, test } from 'vitest'
import { neighbour, Roster } from '../src/app/resource-list.svelte'
import { ApiError } from '../src/api/http'

interface Row {
  readonly id: string
}

const rows = (...ids: string[]): readonly Row[] => ids.map((id) => ({ id }))

let roster: Roster<Row>
let stored: readonly Row[]

beforeEach(async () => {
  stored = rows('a', 'b', 'c')
  roster = new Roster(async () => ({ data: stored, last_id: null, has_more: false }))
  await roster.load()
})

const refusing = (status: number) => () => Promise.reject(new ApiError(status, 'refused', ''))

test('what was made stands first', () => {
  roster.add({ id: 'd' })
  expect(roster.rows).toEqual(rows('d', 'a', 'b', 'c'))
})

test('what was removed is gone from the list', async () => {
  await roster.remove('b', async () => {})
  expect(roster.rows).toEqual(rows('a', 'c'))
})

test('what another page has removed already is gone too', async () => {
  await roster.remove('b', refusing(404))
  expect(roster.rows).toEqual(rows('a', 'c'))
})

test('what could not be removed stays', async () => {
  await expect(roster.remove('b', refusing(503))).rejects.toBeInstanceOf(ApiError)
  expect(roster.rows).toEqual(rows('a', 'b', 'c'))
})

test('the focus goes to the next row, from the last to the one before, from the only to none', () => {
  expect(neighbour(rows('a', 'b', 'c'), 'b')).toBe('c')
  expect(neighbour(rows('a', 'b'), 'b')).toBe('a')
  expect(neighbour(rows('a'), 'a')).toBeNull()
})
