import { expect, test } from 'vitest'
import { titleFromText } from '../src/app/title'

test('a short question is its own title', () => {
  expect(titleFromText('  用表格比较 TCP 和 UDP \n\nthanks')).toBe('用表格比较 TCP 和 UDP')
})

test('a long English question is cut between words', () => {
  expect(titleFromText('Explain in detail how a hash table works and why resizing is cheap')).toBe(
    'Explain in detail how a hash table works and…',
  )
})

test('a long Chinese question is cut between characters', () => {
  const title = titleFromText('解'.repeat(100))
  expect(title).toBe(`${'解'.repeat(48)}…`)
})

test('an emoji is never cut in half', () => {
  expect(titleFromText('😀'.repeat(60))).toBe(`${'😀'.repeat(48)}…`)
})
