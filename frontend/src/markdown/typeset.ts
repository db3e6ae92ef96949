import { sanitiseMath } from './sanitise'

type Tex = (tex: string, display: boolean) => string

let tex: Tex | null = null

/**
 * Makes formulas of the TeX in `host`, as MathML, which needs neither style sheets nor fonts of its
 * own. The first formula loads KaTeX; until then, and where it does not understand, the TeX stays.
 */
export function typeset(host: HTMLElement): void {
  const formulas = host.querySelectorAll<HTMLElement>('.math')
  if (formulas.length === 0) return
  if (tex === null) void load().then((loaded) => loaded && typeset(host))
  else for (const formula of formulas) set(formula, tex)
}

function set(formula: HTMLElement, toMathML: Tex): void {
  if (formula.firstElementChild !== null) return
  try {
    const mathML = toMathML(formula.textContent, formula.classList.contains('display'))
    formula.replaceChildren(sanitiseMath(mathML))
  } catch {
    formula.classList.add('raw')
  }
}

async function load(): Promise<boolean> {
  try {
    const { default: katex } = await import('katex')
    tex = (text, displayMode) =>
      katex.renderToString(text, {
        displayMode,
        output: 'mathml',
        strict: 'ignore',
        maxExpand: 500,
        maxSize: 30,
      })
    return true
  } catch {
    return false
  }
}
