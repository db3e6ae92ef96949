/**
 * Whether a key belongs to an input method, which uses Enter to choose a word and Escape to give
 * one up. Safari says so only by the key code 229 (it ends the composition before the keydown).
 */
export function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229
}
