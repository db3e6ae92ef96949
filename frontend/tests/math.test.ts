import { expect, test } from 'vitest'
import { emptyRendering, render } from '../src/markdown/blocks'

const html = (text: string): string =>
  render(emptyRendering, text, true)
    .blocks.map((block) => block.html)
    .join('')

const inline = (tex: string) => `<span class="math">${tex}</span>`
const display = (tex: string) => `<div class="math display">${tex}</div>\n`

test.each(['\\(a_1 + b_1\\)', '$a_1 + b_1$'])('%s is an inline formula', (text) => {
  expect(html(`Let ${text} be.`)).toBe(`<p>Let ${inline('a_1 + b_1')} be.</p>\n`)
})

test.each(['\\[\nx = 1\n\\]', '$$\nx = 1\n$$', '$$x = 1$$', '\\[ x = 1 \\]'])(
  '%j is a display formula',
  (text) => {
    expect(html(text)).toBe(display('x = 1'))
  },
)

test('Chinese text may touch a formula', () => {
  expect(html('其中$x$是变量。')).toContain(`其中${inline('x')}是变量。`)
})

test.each([
  'It costs $5, not $6.',
  '价格是$5和$6。',
  'echo $HOME:$PATH',
  'US$5 and 6$',
  'a $ b $ c',
  '$$',
])('%s contains no formula', (text) => {
  expect(html(text)).not.toContain('class="math">')
})

test('Markdown syntax inside a formula is not parsed', () => {
  expect(html('$$\na\n- b\n* c * d\n$$')).toBe(display('a\n- b\n* c * d'))
})

test('a formula that is never closed ends at the blank line', () => {
  expect(html('$$\nx\n\nThe *rest*.')).toBe(`${display('x')}<p>The <em>rest</em>.</p>\n`)
})

test('text after the closing delimiter is kept', () => {
  expect(html('\\[\nx\n\\] and **so on**')).toBe(
    `${display('x')}<p>and <strong>so on</strong></p>\n`,
  )
})

test('a formula in a list ends with its item', () => {
  expect(html('- $$\n  x\n\nafter')).toContain('</ul>\n<p>after</p>')
})

test('code keeps its dollar signs', () => {
  expect(html('`$x$`')).toBe('<p><code>$x$</code></p>\n')
  expect(html('```\n$$\nx\n$$\n```')).not.toContain('math')
})

test('HTML in a formula stays text', () => {
  expect(html('$<img>$')).toContain('&lt;img&gt;')
})
