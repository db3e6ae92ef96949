import { beforeEach, expect, test } from 'vitest'
import { neighbour, ResourceList } from '../src/app/resource-list.svelte'
import { ApiError } from '../src/api/http'

interface Resource {
  readonly id: string
}

const resources = (...ids: string[]): readonly Resource[] => ids.map((id) => ({ id }))

let list: ResourceList<Resource>
let stored: readonly Resource[]

beforeEach(async () => {
  stored = resources('a', 'b', 'c')
  list = new ResourceList(async () => ({ data: stored, last_id: null, has_more: false }))
  await list.load()
})

const failing = (status: number) => () => Promise.reject(new ApiError(status, 'failed', ''))

test('a created resource comes first', () => {
  list.add({ id: 'd' })
  expect(list.items).toEqual(resources('d', 'a', 'b', 'c'))
})

test('a removed resource disappears from the list', async () => {
  await list.remove('b', async () => {})
  expect(list.items).toEqual(resources('a', 'c'))
})

test('a resource that another page has removed disappears too', async () => {
  await list.remove('b', failing(404))
  expect(list.items).toEqual(resources('a', 'c'))
})

test('a resource that could not be removed stays', async () => {
  await expect(list.remove('b', failing(503))).rejects.toBeInstanceOf(ApiError)
  expect(list.items).toEqual(resources('a', 'b', 'c'))
})

test('the focus moves to the next row, from the last row to the previous one, from the only row to none', () => {
  expect(neighbour(resources('a', 'b', 'c'), 'b')).toBe('c')
  expect(neighbour(resources('a', 'b'), 'b')).toBe('a')
  expect(neighbour(resources('a'), 'a')).toBeNull()
})
