import { createJavaScriptRegexEngine } from '@shikijs/engine-javascript'
import {
  codeToTokensBase,
  createShikiPrimitive,
  type LanguageRegistration,
} from '@shikijs/primitive'

// Loaded only when an answer holds code.

/** The kinds of words a theme tells apart; `ui/prose.css` has their colours. */
export const kinds = ['comment', 'keyword', 'string', 'constant', 'function'] as const
export type Kind = (typeof kinds)[number]

export interface Span {
  readonly kind: Kind
  readonly start: number
  readonly end: number
}

const scopes: Record<Kind, string[]> = {
  comment: ['comment', 'punctuation.definition.comment'],
  keyword: ['keyword', 'storage', 'variable.language', 'support.type.primitive', 'markup.deleted'],
  string: ['string', 'punctuation.definition.string', 'markup.inserted', 'markup.inline.raw'],
  constant: [
    'constant',
    'support.constant',
    'entity.other.attribute-name',
    'support.type.property-name',
  ],
  function: [
    'entity.name',
    'support.function',
    'support.class',
    'support.type',
    'meta.function-call.generic',
  ],
}

const plain = [
  'keyword.operator.assignment',
  'keyword.operator.arithmetic',
  'keyword.operator.type',
  'storage.type.generic',
]

/** A kind travels through the tokenizer as a colour, the only thing a theme can say. */
const colourOf = (kind: Kind): string => `#00000${kinds.indexOf(kind) + 1}`
const kindOf = new Map<string, Kind>(kinds.map((kind) => [colourOf(kind), kind]))

const tokenizer = createShikiPrimitive({
  engine: createJavaScriptRegexEngine({ forgiving: true }),
  langs: [],
  themes: [
    {
      name: 'kinds',
      settings: [
        { settings: { foreground: '#000000' } },
        ...kinds.map((kind) => ({ scope: scopes[kind], settings: { foreground: colourOf(kind) } })),
        { scope: plain, settings: { foreground: '#000000' } },
      ],
    },
  ],
})

/** Where the coloured words of `code` are, as offsets into it. */
export function spansOf(code: string, grammar: LanguageRegistration[]): readonly Span[] {
  tokenizer.loadLanguageSync(...grammar)
  const lang = grammar.at(-1)!.name
  // The first line of a language compiles its expressions, which a slow machine needs a second for.
  return codeToTokensBase(tokenizer, code, { lang, theme: 'kinds', tokenizeTimeLimit: 5000 })
    .flat()
    .flatMap(({ color, offset, content }) => {
      const kind = kindOf.get(color?.toLowerCase() ?? '')
      return kind === undefined ? [] : [{ kind, start: offset, end: offset + content.length }]
    })
}
