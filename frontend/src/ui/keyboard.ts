/**
 * Returns true if an input method handles the key: it uses Enter to accept a word and Escape to
 * cancel one. Safari ends the composition before the keydown and reports it only by key code 229.
 */
export function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229
}
