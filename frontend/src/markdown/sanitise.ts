import DOMPurify, { type Config } from 'dompurify'

const CONFIG: Config & { RETURN_DOM_FRAGMENT: true } = {
  ALLOWED_TAGS: (
    'p br hr h2 h3 h4 h5 h6 strong em s code pre blockquote ul ol li ' +
    'table thead tbody tr th td a div span button'
  ).split(' '),
  ALLOWED_ATTR: ['href', 'title', 'start', 'class', 'type', 'tabindex', 'data-language'],
  // The values of these attributes are not URLs.
  ADD_URI_SAFE_ATTR: ['start', 'type', 'tabindex', 'data-language'],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
  RETURN_DOM_FRAGMENT: true,
}

/** The only path of an answer's HTML into the page: as nodes, never as a string. */
export function sanitise(html: string): DocumentFragment {
  const fragment = DOMPurify.sanitize(html, CONFIG)
  for (const link of fragment.querySelectorAll('a')) {
    link.target = '_blank'
    link.rel = 'noopener noreferrer nofollow'
  }
  return fragment
}

const MATH: Config & { RETURN_DOM_FRAGMENT: true } = {
  USE_PROFILES: { mathMl: true },
  // The theme sets the colours: black from a model would be invisible in the dark theme.
  FORBID_ATTR: ['class', 'href', 'id', 'mathcolor', 'mathbackground'],
  // The TeX source, which browsers would show beside the formula.
  FORBID_CONTENTS: ['annotation'],
  RETURN_DOM_FRAGMENT: true,
}

export function sanitiseMath(mathML: string): DocumentFragment {
  // A style attribute violates the content security policy as soon as it is parsed, before DOMPurify
  // can remove it. KaTeX escapes quotes in text, so this pattern matches only attributes.
  return DOMPurify.sanitize(mathML.replaceAll(/ style="[^"]*"/g, ''), MATH)
}
