/** Listens, and runs one {@link NbdConnection} per client. */
import type { Address, ByteStream, Env, Listener, Log } from '@shoal/base'
import type { ExportSource } from './block-device.ts'
import { NbdConnection } from './connection.ts'
import type { ConnectionLimits, RequestInFlight, TlsOffer } from './connection-options.ts'
import { NbdCounters } from './counters.ts'
import { MemoryBudget } from './memory-budget.ts'

export interface NbdLimits extends ConnectionLimits {
  readonly connectionsMax: number
  /** Of payload that all connections together have in progress. */
  readonly inflightBytesMax: number
  /** How long `close` waits for what is under way. */
  readonly drainTimeoutMs: number
}

const limitsDefault: NbdLimits = {
  connectionsMax: 1024,
  exportConnectionsMax: 256,
  handshakeTimeoutMs: 20_000,
  idleTimeoutMs: 0,
  inflightBytesMax: 512 * 1024 * 1024,
  drainTimeoutMs: 10_000,
}

/** Above the limit, so many clients at a time are told why; the others are just hung up on. */
const refusedMax = 64
const refusalTimeoutMs = 2_000

export interface NbdServerOptions {
  /** Asked for each connection: they may change. Those that are left out are the default ones. */
  readonly limits?: () => Partial<NbdLimits>
  readonly tls?: TlsOffer
}

export class NbdServer {
  readonly counters: NbdCounters = new NbdCounters()
  private readonly env: Pick<Env, 'network' | 'timers' | 'clock'>
  private readonly log: Log
  private readonly exports: ExportSource
  private readonly limits: () => NbdLimits
  private readonly tls: TlsOffer | undefined
  private readonly connections = new Set<NbdConnection>()
  private readonly budget = new MemoryBudget(limitsDefault.inflightBytesMax, () => {
    for (const connection of this.connections) connection.advance()
  })
  private readonly listeners: Listener[] = []
  private closing = false
  private onEmpty: () => void = () => undefined

  constructor(
    env: Pick<Env, 'network' | 'timers' | 'clock' | 'log'>,
    exports: ExportSource,
    options: NbdServerOptions = {},
  ) {
    this.env = env
    this.log = env.log.child('nbd')
    this.exports = exports
    this.limits = () => ({ ...limitsDefault, ...options.limits?.() })
    this.tls = options.tls
  }

  /** Port 0 picks a free one; the answer tells which. May be called for several addresses. */
  async listen(address: Address): Promise<Address> {
    const listener = await this.env.network.listen(address, (stream) => this.onConnection(stream))
    this.listeners.push(listener)
    return listener.address
  }

  private onConnection(stream: ByteStream): void {
    const limits = this.limits()
    const { connectionsMax } = limits
    this.budget.bytesMax = limits.inflightBytesMax
    const count = this.connections.size
    const refused = count >= connectionsMax
    if (refused) this.counters.refused++
    // Told once, not for each of those that try again and again.
    if (count === connectionsMax) {
      this.log.warn('refusing NBD connections: too many', { connections: count, remote: stream.remote })
    }
    if (this.closing || count >= connectionsMax + refusedMax) return stream.destroy()
    const connection: NbdConnection = new NbdConnection({
      env: this.env,
      log: this.log,
      stream,
      exports: this.exports,
      counters: this.counters,
      budget: this.budget,
      limits: refused ? { ...limits, handshakeTimeoutMs: refusalTimeoutMs } : limits,
      ...(this.tls === undefined ? {} : { tls: this.tls }),
      ...(refused ? { refusal: `this gateway serves at most ${connectionsMax} connections` } : {}),
      onClosed: () => {
        this.connections.delete(connection)
        this.counters.connections = this.connections.size
        if (this.connections.size === 0) this.onEmpty()
      },
    })
    this.connections.add(connection)
    this.counters.connections = this.connections.size
  }

  /** Requests that wait for the cluster, oldest first. */
  requestsInFlight(): readonly RequestInFlight[] {
    return [...this.connections]
      .flatMap((connection) => connection.requestsInFlight())
      .sort((a, b) => b.ageMs - a.ageMs)
  }

  /**
   * Takes no more clients and no more requests, answers what is under way for at most `drainTimeoutMs`, and hangs up.
   * What was not answered a client sends again to whoever serves next: an error would be final to it.
   */
  async close(): Promise<void> {
    this.closing = true
    for (const connection of this.connections) connection.drain()
    await this.whenEmpty()
    for (const connection of this.connections) connection.close('server shutting down')
    await Promise.all(this.listeners.map((listener) => listener.close()))
  }

  private async whenEmpty(): Promise<void> {
    if (this.connections.size === 0) return
    await new Promise<void>((resolve) => {
      const timer = this.env.timers.after(this.limits().drainTimeoutMs, resolve)
      this.onEmpty = () => {
        timer.cancel()
        resolve()
      }
    })
  }
}
