import { expect, test } from 'vitest'
import { en } from '../src/words/en'
import { zh } from '../src/words/zh'

test('no word is left untranslated', () => {
  const same = Object.entries(en).filter(([key, word]) => word === zh[key as keyof typeof en])
  expect(same).toEqual([])
})

test('Chinese text has Chinese punctuation', () => {
  const texts = Object.values(zh).flat()
  const wrong = texts.filter((text) => /[\u4e00-\u9fff][,.:;?!]/.test(text))
  expect(wrong).toEqual([])
})
