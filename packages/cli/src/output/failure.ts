/** How the command fails: one line that says what is wrong, one that says what to do, and an exit code. */
import { ClusterError, type ErrorCode, errorTable } from '@shoal/base'

/** What the operating system refused (a file that is not there, a directory without permission) is an error as any other. */
export function asClusterError(error: unknown): unknown {
  if (error instanceof ClusterError || !(error instanceof Error)) return error
  const { code, path } = error as NodeJS.ErrnoException
  if (code === undefined || path === undefined || !Object.hasOwn(errorTable, code)) return error
  const what = error.message.replace(`${code}: `, '').replace(/, \w+ '.*$/, '')
  return new ClusterError(code as ErrorCode, `${path}: ${what}`, { cause: error })
}

/** Codes above 125 mean something to shells; our own error numbers there exit as EIO. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof ClusterError)) return 1
  return error.errno > 125 ? 5 : error.errno
}

export function describeFailure(error: unknown, verbose: boolean): string {
  if (!(error instanceof ClusterError)) {
    return `error: ${error instanceof Error ? (verbose ? error.stack : error.message) : String(error)}`
  }
  const lines = [`error ${error.code}: ${error.message}`]
  if (error.outcome === 'unknown') lines.push('  it is not known whether the operation took effect')
  if (error.hint !== undefined) lines.push(`  try: ${error.hint}`)
  if (verbose && error.stack !== undefined) lines.push(error.stack)
  return lines.join('\n')
}

export function failureAsJson(error: unknown): object {
  if (!(error instanceof ClusterError)) return { error: { code: 'EUNKNOWN', message: String(error) } }
  const { code, message, hint, outcome } = error
  return { error: { code, message, ...(hint === undefined ? {} : { hint }), outcome } }
}
