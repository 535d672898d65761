/** Listens, and runs one {@link NbdConnection} per client. */
import { type Address, type Env, Histogram, type HistogramSummary, type Listener, type Log } from '@shoal/base'
import type { ExportSource } from './block-device.ts'
import { NbdConnection, type RequestInFlight } from './connection.ts'
import { command } from './protocol.ts'

const connectionsMax = 1024

/** What the gateway counts, for `daemon perf`. */
export class NbdCounters {
  connections = 0
  errors = 0
  private readonly byCommand = new Map<number, { readonly latencyMs: Histogram; bytes: number }>()

  record(type: number, bytes: number, latencyMs: number): void {
    let row = this.byCommand.get(type)
    if (row === undefined) {
      row = { latencyMs: new Histogram(), bytes: 0 }
      this.byCommand.set(type, row)
    }
    row.latencyMs.record(latencyMs)
    row.bytes += bytes
  }

  summary(): Readonly<Record<string, number | HistogramSummary>> {
    const result: Record<string, number | HistogramSummary> = { connections: this.connections, errors: this.errors }
    for (const [name, type] of Object.entries(command)) {
      const row = this.byCommand.get(type)
      if (row === undefined) continue
      result[`${name}LatencyMs`] = row.latencyMs.summary()
      result[`${name}Bytes`] = row.bytes
    }
    return result
  }
}

export class NbdServer {
  readonly counters: NbdCounters = new NbdCounters()
  private readonly env: Pick<Env, 'network' | 'timers' | 'clock'>
  private readonly log: Log
  private readonly exports: ExportSource
  private readonly connections = new Set<NbdConnection>()
  private listener: Listener | undefined

  constructor(env: Pick<Env, 'network' | 'timers' | 'clock' | 'log'>, exports: ExportSource) {
    this.env = env
    this.log = env.log.child('nbd')
    this.exports = exports
  }

  /** Port 0 picks a free one; the answer tells which. */
  async listen(address: Address): Promise<Address> {
    this.listener = await this.env.network.listen(address, (stream) => {
      if (this.connections.size >= connectionsMax) {
        this.log.warn('refusing an NBD connection: too many', { connections: this.connections.size })
        stream.destroy()
        return
      }
      const connection: NbdConnection = new NbdConnection({
        env: this.env,
        log: this.log,
        stream,
        exports: this.exports,
        counters: this.counters,
        onClosed: () => {
          this.connections.delete(connection)
          this.counters.connections = this.connections.size
        },
      })
      this.connections.add(connection)
      this.counters.connections = this.connections.size
    })
    return this.listener.address
  }

  /** Requests that wait for the cluster, oldest first. */
  requestsInFlight(): readonly RequestInFlight[] {
    return [...this.connections]
      .flatMap((connection) => connection.requestsInFlight())
      .sort((a, b) => b.ageMs - a.ageMs)
  }

  /** Stops listening and hangs up on every client. */
  async close(): Promise<void> {
    await this.listener?.close()
    for (const connection of this.connections) connection.close('server shutting down')
  }
}
