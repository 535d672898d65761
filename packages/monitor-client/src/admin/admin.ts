/**
 * The control endpoint that every daemon serves: `perf`, `ops` and what its kind adds. Behind an interface, so that the
 * simulator's daemons answer in memory.
 *
 * Method `help` is answered here: it lists what the daemon offers.
 */
import { type Address, ClusterError } from '@shoal/base'

/** Takes the arguments of the call, returns a value that JSON can hold; may throw ClusterErrors. */
export type AdminHandler = (args: Readonly<Record<string, unknown>>) => unknown

/** By method name: `perf`, `ops`, `pg query`. */
export type AdminHandlers = Readonly<Record<string, AdminHandler>>

export interface AdminServer {
  /** With the port that was given for port 0. */
  readonly address: Address
  close(): Promise<void>
}

export interface AdminTransport {
  /** Rejects with EBUSY when the address is taken. */
  serve(address: Address, handlers: AdminHandlers): Promise<AdminServer>
  /** Rejects with the handler's own error, ECONNREFUSED when nobody listens, ETIMEDOUT after `timeoutMs`. */
  call(address: Address, method: string, args?: Readonly<Record<string, unknown>>, timeoutMs?: number): Promise<unknown>
}

export const adminTimeoutMs = 10_000

/** Runs one call against a table of handlers; rejects with EOPNOTSUPP for a method that the table lacks. */
export async function answerAdmin(
  handlers: AdminHandlers,
  method: string,
  args: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  const methods = Object.keys(handlers).sort()
  if (method === 'help') return { methods }
  const handler = Object.hasOwn(handlers, method) ? handlers[method] : undefined
  if (handler === undefined) {
    throw new ClusterError('EOPNOTSUPP', `this daemon has no method '${method}'`, {
      hint: `it answers: help, ${methods.join(', ')}`,
    })
  }
  return (await handler(args)) ?? null
}
