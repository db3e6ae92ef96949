import { expect, test } from 'vitest'
import { accountEn } from '../src/i18n/account.en'
import { accountZh } from '../src/i18n/account.zh'
import { en } from '../src/i18n/en'
import { zh } from '../src/i18n/zh'

/** Of a dictionary that may have smaller ones in it. */
function leaves(words: object, path = ''): [path: string, text: string][] {
  return Object.entries(words).flatMap(([key, word]): [string, string][] =>
    typeof word === 'string' ? [[`${path}${key}`, word]] : leaves(word, `${path}${key}.`),
  )
}

const english = [...leaves(en), ...leaves(accountEn)]
const chinese = [...leaves(zh), ...leaves(accountZh)]

test('no word is left untranslated', () => {
  expect(chinese.map(([path]) => path)).toEqual(english.map(([path]) => path))
  expect(english.filter(([, text], index) => text === chinese[index]?.[1])).toEqual([])
})

test('a sentence has as many gaps in both languages', () => {
  const gaps = (text: string) => text.split('{}').length - 1
  const unlike = english.filter(([, text], index) => gaps(text) !== gaps(chinese[index]?.[1] ?? ''))
  expect(unlike).toEqual([])
})

test('Chinese text has Chinese punctuation', () => {
  const wrong = chinese.filter(([, text]) => /[\u4e00-\u9fff][,.:;?!]/.test(text))
  expect(wrong).toEqual([])
})
