import { createJavaScriptRegexEngine } from '@shikijs/engine-javascript'
import {
  codeToTokensBase,
  createShikiPrimitive,
  type LanguageRegistration,
} from '@shikijs/primitive'

// Loaded only when an answer holds code.

/** The kinds of tokens that have a colour; `ui/prose.css` defines the colours. */
const tokenKinds = ['comment', 'keyword', 'string', 'constant', 'function'] as const
export type TokenKind = (typeof tokenKinds)[number]

interface TokenSpan {
  readonly kind: TokenKind
  readonly start: number
  readonly end: number
}

const scopes: Record<TokenKind, string[]> = {
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

const uncolouredScopes = [
  'keyword.operator.assignment',
  'keyword.operator.arithmetic',
  'keyword.operator.type',
  'storage.type.generic',
]

/** Encodes a kind as a colour, the only attribute that a theme carries through the tokenizer. */
const colourOf = (kind: TokenKind): string => `#00000${tokenKinds.indexOf(kind) + 1}`
const kindOf = new Map<string, TokenKind>(tokenKinds.map((kind) => [colourOf(kind), kind]))

const tokenizer = createShikiPrimitive({
  engine: createJavaScriptRegexEngine({ forgiving: true }),
  langs: [],
  themes: [
    {
      name: 'token-kinds',
      settings: [
        { settings: { foreground: '#000000' } },
        ...tokenKinds.map((kind) => ({
          scope: scopes[kind],
          settings: { foreground: colourOf(kind) },
        })),
        { scope: uncolouredScopes, settings: { foreground: '#000000' } },
      ],
    },
  ],
})

/** Returns the coloured tokens of `code`, as offsets into it. */
export function tokenize(code: string, grammar: LanguageRegistration[]): readonly TokenSpan[] {
  tokenizer.loadLanguageSync(...grammar)
  const lang = grammar.at(-1)!.name
  // The first line of a language compiles its expressions, which takes a second on a slow machine.
  return codeToTokensBase(tokenizer, code, { lang, theme: 'token-kinds', tokenizeTimeLimit: 5000 })
    .flat()
    .flatMap(({ color, offset, content }) => {
      const kind = kindOf.get(color?.toLowerCase() ?? '')
      return kind === undefined ? [] : [{ kind, start: offset, end: offset + content.length }]
    })
}
