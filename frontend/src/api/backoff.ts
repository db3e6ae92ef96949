const BASE_MS = 400
const MAX_MS = 20_000

/**
 * Returns the delay in milliseconds before attempt `attempt` (from 0): exponential, with jitter so
 * that pages do not all reconnect at the same instant after a server restart.
 */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(MAX_MS, BASE_MS * 2 ** Math.min(attempt, 16))
  return Math.round(ceiling * (0.5 + random() / 2))
}
