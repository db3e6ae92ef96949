const FIRST_MS = 400
const LONGEST_MS = 20_000

/**
 * Milliseconds to wait before attempt `attempt` (from 0): doubling, and spread over a range so
 * that the pages of one server do not all come back in the same instant after its restart.
 */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16))
  return Math.round(ceiling * (0.5 + random() / 2))
}
