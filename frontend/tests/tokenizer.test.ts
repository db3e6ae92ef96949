import { expect, test } from 'vitest'
import { tokenize } from '../src/markdown/tokenizer'
import { grammarOf } from '../src/markdown/grammars'

async function tokens(language: string, code: string): Promise<Record<string, string>> {
  const { default: grammar } = await grammarOf(language)!()
  return Object.fromEntries(
    tokenize(code, grammar).map(({ kind, start, end }) => [code.slice(start, end), kind]),
  )
}

test('finds the kinds of tokens in a program', async () => {
  const code = 'def area(r):\n    return 3.14 * r  # metres\n\nprint("你好")\n'
  expect(await tokens('py', code)).toEqual({
    def: 'keyword',
    area: 'function',
    return: 'keyword',
    '3.14': 'constant',
    '# metres': 'comment',
    print: 'function',
    '"你好"': 'string',
  })
})

test.each(['js', 'ts', 'jsx', 'sh', 'yml', 'rs', 'c#', 'golang'])(
  'finds the grammar of %s by its usual name',
  async (name) => {
    expect((await grammarOf(name)!()).default.length).toBeGreaterThan(0)
  },
)

test.each(['', 'klingon', 'constructor', '__proto__'])('has no grammar for "%s"', (name) => {
  expect(grammarOf(name)).toBeNull()
})
