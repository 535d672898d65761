/** What a connection is given, and what it tells of itself. */
import type { ByteStream, Env, Log } from '@shoal/base'
import type { ExportSource } from './block-device.ts'
import type { NbdCounters } from './counters.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { TlsMode } from './negotiation.ts'

export interface RequestInFlight {
  readonly remote: string
  readonly export: string
  readonly type: number
  readonly offset: number
  readonly length: number
  readonly ageMs: number
}

export interface ConnectionLimits {
  /** To one export. */
  readonly exportConnectionsMax: number
  readonly handshakeTimeoutMs: number
  /** Without a request; 0: for ever. */
  readonly idleTimeoutMs: number
}

/** TLS as it is offered. `accept` does the server's part of its handshake, after which the given stream is not to be used. */
export interface TlsOffer {
  readonly mode: Exclude<TlsMode, 'off'>
  accept(stream: ByteStream): Promise<ByteStream>
}

export interface ConnectionOptions {
  readonly env: Pick<Env, 'timers' | 'clock'>
  readonly log: Log
  readonly stream: ByteStream
  readonly exports: ExportSource
  readonly counters: NbdCounters
  /** Shared by all connections. */
  readonly budget: MemoryBudget
  readonly limits: ConnectionLimits
  readonly tls?: TlsOffer
  /** Says why nothing will be served, to whatever is asked. */
  readonly refusal?: string
  /** Once, when the socket is gone. */
  readonly onClosed: () => void
}
