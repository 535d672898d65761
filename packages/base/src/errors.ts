/**
 * The one table of operating errors. A daemon, a library and the CLI report the same codes; each gateway maps them
 * to its protocol in one file of its own. Programmer errors are {@link AssertionError}s and never appear here.
 */
export const errorTable = {
  EPERM: { errno: 1, summary: 'operation not permitted' },
  ENOENT: { errno: 2, summary: 'not found' },
  EIO: { errno: 5, summary: 'input/output error' },
  ENXIO: { errno: 6, summary: 'no such device or address' },
  E2BIG: { errno: 7, summary: 'too large' },
  EAGAIN: { errno: 11, summary: 'try again' },
  EACCES: { errno: 13, summary: 'permission denied' },
  EBUSY: { errno: 16, summary: 'busy' },
  EEXIST: { errno: 17, summary: 'exists already' },
  EINVAL: { errno: 22, summary: 'invalid argument' },
  EFBIG: { errno: 27, summary: 'object too large' },
  ENOSPC: { errno: 28, summary: 'no space left' },
  EROFS: { errno: 30, summary: 'read-only' },
  ERANGE: { errno: 34, summary: 'version or range does not match' },
  ENODATA: { errno: 61, summary: 'no such attribute or key' },
  EPROTO: { errno: 71, summary: 'protocol error' },
  EOVERFLOW: { errno: 75, summary: 'value too large' },
  EBADMSG: { errno: 74, summary: 'malformed message' },
  EOPNOTSUPP: { errno: 95, summary: 'operation not supported' },
  ENOTCONN: { errno: 107, summary: 'not registered' },
  ESHUTDOWN: { errno: 108, summary: 'shut down' },
  ETIMEDOUT: { errno: 110, summary: 'timed out' },
  ECONNREFUSED: { errno: 111, summary: 'connection refused' },
  ECONNRESET: { errno: 104, summary: 'connection reset' },
  ESTALE: { errno: 116, summary: 'stale map or handle' },
  EDQUOT: { errno: 122, summary: 'quota reached' },
  ECANCELED: { errno: 125, summary: 'canceled' },
  ECHECKSUM: { errno: 200, summary: 'checksum mismatch' },
  ENOTLEADER: { errno: 201, summary: 'not the leader' },
  ENOQUORUM: { errno: 202, summary: 'no quorum of monitors' },
} as const

export type ErrorCode = keyof typeof errorTable

/** Whether the failed operation may have taken effect. `unknown` must be reported as such, never as a failure. */
export type Outcome = 'not-applied' | 'unknown'

export interface ClusterErrorOptions {
  /** What the person should do: a command where there is one. */
  readonly hint?: string
  readonly cause?: unknown
  /** Whether the same request may succeed later, unchanged. */
  readonly retry?: boolean
  readonly outcome?: Outcome
}

/** An operating error: the world (or the input) is at fault, the caller can act on it. */
export class ClusterError extends Error {
  override readonly name = 'ClusterError'
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly retry: boolean
  readonly outcome: Outcome

  constructor(code: ErrorCode, message: string, options: ClusterErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
    this.retry = options.retry ?? false
    this.outcome = options.outcome ?? 'not-applied'
  }

  /** The positive number that travels in replies. */
  get errno(): number {
    return errorTable[this.code].errno
  }
}

const codeByErrno = new Map<number, ErrorCode>(
  Object.entries(errorTable).map(([code, row]) => [row.errno, code as ErrorCode]),
)

/** The code of a number from a reply; an unknown number (a newer peer's) reads as EIO. */
export function errorCodeOf(errno: number): ErrorCode {
  return codeByErrno.get(errno) ?? 'EIO'
}

export function isClusterError(error: unknown, ...codes: readonly ErrorCode[]): error is ClusterError {
  return error instanceof ClusterError && (codes.length === 0 || codes.includes(error.code))
}
