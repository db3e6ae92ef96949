import { sanitiseMath } from './sanitise'

type Renderer = (tex: string, display: boolean) => string

let renderer: Renderer | null = null

/**
 * Converts the TeX in `host` to MathML, which needs neither style sheets nor fonts of its own. The
 * first formula loads KaTeX; until then, and where KaTeX reports an error, the TeX stays.
 */
export function typeset(host: HTMLElement): void {
  const formulas = host.querySelectorAll<HTMLElement>('.math')
  if (formulas.length === 0) return
  if (renderer === null) void loadRenderer().then((loaded) => loaded && typeset(host))
  else for (const formula of formulas) typesetFormula(formula, renderer)
}

function typesetFormula(formula: HTMLElement, toMathML: Renderer): void {
  if (formula.firstElementChild !== null) return
  try {
    const mathML = toMathML(formula.textContent, formula.classList.contains('display'))
    formula.replaceChildren(sanitiseMath(mathML))
  } catch {
    formula.classList.add('raw')
  }
}

async function loadRenderer(): Promise<boolean> {
  try {
    const { default: katex } = await import('katex')
    renderer = (tex, displayMode) =>
      katex.renderToString(tex, {
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
