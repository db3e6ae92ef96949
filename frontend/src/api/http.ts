import type { ErrorBody } from './resources'

/** An error response. Status 0: the server could not be reached. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  /** From the Retry-After header. */
  readonly retryAfterSeconds: number | null

  constructor(
    status: number,
    code: string,
    message: string,
    retryAfterSeconds: number | null = null,
  ) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.code = code
    this.retryAfterSeconds = retryAfterSeconds
  }
}

const TIMEOUT_MS = 20_000

export async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method, signal: AbortSignal.timeout(TIMEOUT_MS) }
  if (body !== undefined) {
    init.headers = { 'Content-Type': 'application/json' }
    init.body = JSON.stringify(body)
  }
  let response: Response
  try {
    response = await fetch(path, init)
  } catch {
    throw new ApiError(0, 'unreachable', `${method} ${path}: no response`)
  }
  if (!response.ok) throw await errorFrom(response)
  if (response.status === 204) return undefined as T
  try {
    return (await response.json()) as T
  } catch {
    throw new ApiError(0, 'unreachable', `${method} ${path}: the response is not JSON`)
  }
}

async function errorFrom(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => null)) as { error?: ErrorBody } | null
  const code = body?.error?.code ?? `http_${response.status}`
  const message = body?.error?.message ?? response.statusText
  return new ApiError(response.status, code, message, retryAfter(response.headers))
}

/** Retry-After may also be a date (RFC 9110, section 10.2.3); the services send only seconds. */
function retryAfter(headers: Headers): number | null {
  const seconds = Number(headers.get('Retry-After') ?? NaN)
  return Number.isFinite(seconds) && seconds > 0 ? Math.ceil(seconds) : null
}

export function query(parameters: Record<string, string | number | null>): string {
  const present = Object.entries(parameters).filter(([, value]) => value !== null)
  return new URLSearchParams(present.map(([name, value]) => [name, String(value)])).toString()
}
