import { expect, test } from 'vitest'
import { accountEn } from '../src/i18n/account.en'
import { accountZh } from '../src/i18n/account.zh'
import { en } from '../src/i18n/en'
import { zh } from '../src/i18n/zh'

/** Lists the strings of a nested dictionary with their paths. */
function flatten(dictionary: object, path = ''): [path: string, text: string][] {
  return Object.entries(dictionary).flatMap(([key, value]): [string, string][] =>
    typeof value === 'string' ? [[`${path}${key}`, value]] : flatten(value, `${path}${key}.`),
  )
}

const english = [...flatten(en), ...flatten(accountEn)]
const chinese = [...flatten(zh), ...flatten(accountZh)]

test('every string is translated', () => {
  expect(chinese.map(([path]) => path)).toEqual(english.map(([path]) => path))
  expect(english.filter(([, text], index) => text === chinese[index]?.[1])).toEqual([])
})

test('a string has the same number of placeholders in both languages', () => {
  const placeholders = (text: string) => text.split('{}').length - 1
  const different = english.filter(
    ([, text], index) => placeholders(text) !== placeholders(chinese[index]?.[1] ?? ''),
  )
  expect(different).toEqual([])
})

test('Chinese text has Chinese punctuation', () => {
  const wrong = chinese.filter(([, text]) => /[\u4e00-\u9fff][,.:;?!]/.test(text))
  expect(wrong).toEqual([])
})
