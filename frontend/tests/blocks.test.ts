import { describe, expect, test } from 'vitest'
import { emptyRendering, render, type Rendering } from '../src/markdown/blocks'

const html = (text: string): string =>
  render(emptyRendering, text, true)
    .blocks.map((block) => block.html)
    .join('')

/** Renders a text in pieces of `size`, as a stream does. */
function streamed(text: string, size: number): Rendering {
  let rendering = emptyRendering
  for (let end = size; end < text.length; end += size)
    rendering = render(rendering, text.slice(0, end), false)
  return render(rendering, text, false)
}

const article = `# Title

First paragraph with a [link](https://example.org) and **“加粗”**的 text.

- one
- two

  still two
-5 degrees

| a | b |
|---|--:|
| 1 | 2 |

\`\`\`python
print("x")

print("y")
\`\`\`

> quote
lazy

1. first

   \`\`\`js
   nested()
   \`\`\`
2. second

Setext
------

The end.
`

describe('a stream', () => {
  test.each([1, 2, 3, 7, 40])('in pieces of %i renders the same as the whole text', (size) => {
    const pieces = streamed(article, size).blocks.map((block) => block.html)
    expect(pieces).toEqual(render(emptyRendering, article, true).blocks.map((block) => block.html))
  })

  test('of any Markdown renders the same as the whole text', () => {
    const pieces =
      '- a\n¦- ¦-¦  b\n¦\n¦# h\n¦word ¦text\n¦```\n¦> q\n¦*em* ¦| a | b |\n¦|---|---|\n¦1. x\n¦' +
      '   more\n¦---\n¦===\n¦    ind\n¦\\¦~~~\n¦$$\n¦$$ x\n¦y $$¦\\[\n¦\\]\n'
    const some = pieces.split('¦')
    let seed = 1
    const random = (below: number): number => (seed = (seed * 48271) % 2147483647) % below
    for (let round = 0; round < 500; round++) {
      const text = Array.from({ length: 3 + random(14) }, () => some[random(some.length)]).join('')
      const shown = streamed(text, 1 + random(4)).blocks.map((block) => block.html)
      expect(shown, text).toEqual(
        render(emptyRendering, text, true).blocks.map((block) => block.html),
      )
    }
  })

  test('does not render a finished block again', () => {
    const before = render(emptyRendering, '# One\n\nTwo\n\nThr', false)
    const next = render(before, '# One\n\nTwo\n\nThree', false)
    expect(next.blocks[0]).toBe(before.blocks[0])
    expect(next.blocks[1]).toBe(before.blocks[1])
    expect(next.blocks[2]).not.toBe(before.blocks[2])
  })

  test('renders nothing again when it ends', () => {
    const before = streamed(article, 5)
    const done = render(before, article, true)
    expect(done.blocks.every((block, index) => block === before.blocks[index])).toBe(true)
  })

  test('parses only its end, because finished blocks are settled', () => {
    expect(streamed(article, 5).settled.blocks).toBeGreaterThan(6)
  })

  test('resolves a link reference that follows the link, at the end', () => {
    const text = 'See [x].\n\nMore.\n\n[x]: https://example.org\n'
    expect(streamed(text, 4).blocks[0]?.html).not.toContain('href')
    expect(render(streamed(text, 4), text, true).blocks[0]?.html).toContain(
      'href="https://example.org"',
    )
  })

  test('does not keep a link reference that is cut off by the end of a piece', () => {
    const text = '[x]: https://example.org/long\n\nSee [x].\n\nMore.'
    expect(streamed(text, 3).blocks[0]?.html).toContain('href="https://example.org/long"')
  })

  test('that is replaced starts again', () => {
    const rendering = render(streamed('# One\n\nTwo\n\nThree', 2), 'Another', false)
    expect(rendering.blocks.map((block) => block.html)).toEqual(['<p>Another</p>\n'])
  })

  test('with Windows line endings renders the same as without', () => {
    expect(html('a\r\n\r\nb')).toBe(html('a\n\nb'))
  })
})

describe('Markdown', () => {
  test('renders bold Chinese next to Chinese punctuation', () => {
    expect(html('**“加粗”**的')).toContain('<strong>“加粗”</strong>的')
  })

  test('keeps raw HTML as text', () => {
    expect(html('<img src=x onerror=alert(1)>')).toBe('<p>&lt;img src=x onerror=alert(1)&gt;</p>\n')
  })

  test('renders an image as a link', () => {
    const text = html('![a cat](https://sink.example/cat.png?q=secret)')
    expect(text).toContain('<a href="https://sink.example/cat.png?q=secret">a cat</a>')
    expect(text).not.toContain('<img')
  })

  test('does not nest links', () => {
    expect(html('[![cat](https://a.example/c.png)](https://b.example)').match(/<a /g)).toHaveLength(
      1,
    )
  })

  test('links URLs, but not file names', () => {
    expect(html('see https://example.org/a')).toContain('href="https://example.org/a"')
    expect(html('see main.py and README.md')).not.toContain('<a')
  })

  test('aligns columns by class, because the content security policy forbids inline styles', () => {
    const table = html('| a |\n|--:|\n| 1 |')
    expect(table).toContain('<td class="right">1</td>')
    expect(table).not.toContain('style')
  })

  test('assigns heading tags without gaps, and keeps the size of each level', () => {
    const tags = html('### A\n\n##### B\n\n## C\n\n### D').match(/<h.*?>/g)
    expect(tags).toEqual([
      '<h2 class="level-3">',
      '<h3 class="level-5">',
      '<h2 class="level-2">',
      '<h3 class="level-3">',
    ])
  })

  test('accepts only safe characters in the language of a code block', () => {
    expect(html('```c++ {1}\nx\n```')).toContain('data-language="c++"')
    expect(html('```"><b>\nx\n```')).toContain('data-language=""')
  })

  test('renders a code block while it is still open', () => {
    const [block] = render(emptyRendering, '```js\nlet x', false).blocks
    expect(block?.code).toEqual({ language: 'js', text: 'let x' })
  })
})
