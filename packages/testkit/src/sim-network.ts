/**
 * Byte streams between simulated hosts: delay, cuts at any byte, partitions, chunks of every size.
 *
 * Invariants
 * 1. A direction of a stream delivers a prefix of what was written into it, in order.
 * 2. What crosses a partition waits; it is neither lost nor delivered before the partition heals.
 * 3. `onClose` comes once, last.
 */
import {
  type Address,
  address,
  type ByteStream,
  ClusterError,
  type Listener,
  type Network,
  parseAddress,
  type Random,
} from '@shoal/base'
import { SimStream, type StreamWorld } from './sim-stream.ts'
import type { SimScope, SimTime } from './sim-time.ts'

export interface NetworkFaults {
  delayMsMin: number
  delayMsMax: number
  /** Bytes that are delivered in one piece are drawn up to this. */
  chunkBytesMax: number
  /** Probability that a delivery cuts its connection, in the middle of its bytes. */
  resetProbability: number
}

interface Listening {
  readonly host: string
  readonly scope: SimScope
  readonly onConnection: (stream: ByteStream) => void
}

/** A connection attempt that meets nothing but silence gives up after this. */
const connectTimeoutMs = 20_000
const firstEphemeralPort = 40_000

export class SimNetwork {
  readonly faults: NetworkFaults = { delayMsMin: 0.05, delayMsMax: 0.5, chunkBytesMax: 64 * 1024, resetProbability: 0 }
  private readonly time: SimTime
  private readonly random: Random
  private readonly listening = new Map<string, Listening>()
  private readonly streams = new Set<SimStream>()
  /** How many partitions block a way, by `from>to`. */
  private readonly blocked = new Map<string, number>()
  private readonly silent = new Set<string>()
  /** Hosts whose process is stopped: what is for them waits in their kernel. */
  private readonly stopped = new Set<string>()
  /** Milliseconds that a way takes on top, by `from>to`. */
  private readonly slow = new Map<string, number>()
  private held: { readonly from: string; readonly to: string; readonly act: () => void }[] = []
  private nextPort = firstEphemeralPort
  /** Told of each delivery of bytes. */
  onBytes: ((from: string, to: string, bytes: Uint8Array) => void) | undefined

  constructor(time: SimTime, random: Random) {
    this.time = time
    this.random = random
  }

  /** The network as one life of a process on this host sees it. */
  endPoint(host: string, scope: SimScope): Network {
    return {
      connect: (remote) => this.connect(host, scope, remote),
      listen: (local, onConnection) => this.listen(host, scope, local, onConnection),
    }
  }

  /** Bytes from one host to the other wait until `heal`; `oneWay` leaves the other direction alone. */
  partition(from: string, to: string, options: { readonly oneWay?: boolean } = {}): void {
    this.block(from, to)
    if (options.oneWay !== true) this.block(to, from)
  }

  /** Ends the partitions of two hosts, or all. */
  heal(a?: string, b?: string): void {
    if (a === undefined || b === undefined) this.blocked.clear()
    else for (const way of [`${a}>${b}`, `${b}>${a}`]) this.blocked.delete(way)
    this.releaseHeld()
  }

  /** Ends one partition of this direction; another one may still block it. */
  healWay(from: string, to: string): void {
    const way = `${from}>${to}`
    const left = (this.blocked.get(way) ?? 0) - 1
    if (left > 0) {
      this.blocked.set(way, left)
      return
    }
    this.blocked.delete(way)
    this.releaseHeld()
  }

  /** Makes one direction slower by this, or as fast as it was. */
  setExtraDelay(from: string, to: string, extraMs: number): void {
    if (extraMs > 0) this.slow.set(`${from}>${to}`, extraMs)
    else this.slow.delete(`${from}>${to}`)
  }

  /** The process on this host is stopped, and goes on. */
  stop(host: string): void {
    this.stopped.add(host)
  }

  goOn(host: string): void {
    if (this.stopped.delete(host)) this.releaseHeld()
  }

  /** Whether what is sent now arrives. */
  isReachable(from: string, to: string): boolean {
    return !this.isBlocked(from, to)
  }

  /** The host has lost power and not come back. */
  isSilent(host: string): boolean {
    return this.silent.has(host)
  }

  /** Does `act` at the other host after the way's delay; later, if the way is blocked then. */
  send(from: string, to: string, act: () => void): void {
    this.travel(from, to, act)
  }

  /** Cuts every connection between two hosts, or all: both ends see a reset. */
  resetConnections(a?: string, b?: string): void {
    for (const stream of this.streams) {
      const ends = [stream.local, stream.peerHost]
      if ((a === undefined || ends.includes(a)) && (b === undefined || ends.includes(b))) stream.cut('ECONNRESET')
    }
  }

  /** The process that owns the scope is gone; its kernel closes its connections. */
  processEnded(host: string, scope: SimScope): void {
    this.forget(host, scope)
    this.stopped.delete(host)
    for (const stream of this.streams) if (stream.local === host) stream.abandon()
    this.releaseHeld()
  }

  /** The host is gone without a word: peers learn of it when it is back, or by their own timeouts. */
  hostLost(host: string, scope: SimScope): void {
    this.forget(host, scope)
    this.stopped.delete(host)
    this.silent.add(host)
  }

  hostBack(host: string): void {
    if (!this.silent.delete(host)) return
    this.held = this.held.filter(({ from, to }) => from !== host && to !== host)
    for (const stream of this.streams) {
      if (stream.local === host) stream.abandon()
      else if (stream.peerHost === host && stream.isConnecting) stream.cut('ECONNREFUSED')
    }
  }

  get openStreams(): number {
    return this.streams.size
  }

  private block(from: string, to: string): void {
    const way = `${from}>${to}`
    this.blocked.set(way, (this.blocked.get(way) ?? 0) + 1)
  }

  private forget(host: string, scope: SimScope): void {
    for (const [at, listening] of this.listening) {
      if (listening.host === host && listening.scope === scope) this.listening.delete(at)
    }
  }

  /** Does `act` after the way's delay; later, if the way is blocked then. */
  private travel(from: string, to: string, act: () => void): void {
    const { delayMsMin, delayMsMax } = this.faults
    const extraMs = this.slow.size === 0 ? 0 : (this.slow.get(`${from}>${to}`) ?? 0)
    const delayMs = from === to ? 0 : extraMs + delayMsMin + (delayMsMax - delayMsMin) * this.random.fraction()
    this.time.schedule(delayMs, undefined, () => this.arrive(from, to, act))
  }

  private arrive(from: string, to: string, act: () => void): void {
    if (this.isBlocked(from, to)) this.held.push({ from, to, act })
    else act()
  }

  private isBlocked(from: string, to: string): boolean {
    const { blocked, silent, stopped } = this
    if (blocked.size > 0 && blocked.has(`${from}>${to}`)) return true
    if (silent.size > 0 && (silent.has(from) || silent.has(to))) return true
    return stopped.size > 0 && stopped.has(to)
  }

  private releaseHeld(): void {
    const held = this.held
    this.held = []
    for (const one of held) {
      if (this.isBlocked(one.from, one.to)) this.held.push(one)
      else this.travel(one.from, one.to, one.act)
    }
  }

  private connect(host: string, scope: SimScope, remote: Address): ByteStream {
    const world: StreamWorld = {
      time: this.time,
      random: this.random,
      faults: this.faults,
      travel: (from, to, act) => this.travel(from, to, act),
      closed: (stream) => this.streams.delete(stream),
      delivered: (from, to, bytes) => this.onBytes?.(from, to, bytes),
    }
    const target = parseAddress(remote)
    const peerHost = this.listening.get(remote)?.host ?? target?.host ?? ''
    const near = new SimStream(world, scope, { local: host, peerHost, remote })
    // A dead process connects to nobody.
    if (scope.ended) return near
    this.streams.add(near)
    const timeout = this.time.schedule(connectTimeoutMs, scope, () => near.cut('ETIMEDOUT'))
    this.travel(host, peerHost, () => {
      const listening = this.listening.get(remote)
      if (listening === undefined) {
        this.travel(peerHost, host, () => near.cut('ECONNREFUSED'))
        return
      }
      if (near.isClosed) return
      const far = new SimStream(world, listening.scope, {
        local: listening.host,
        peerHost: host,
        remote: `${host}:${this.nextPort++}`,
        acceptedBy: remote,
      })
      this.streams.add(far)
      far.joinTo(near)
      far.opened()
      // The answer to the connect leads everything that the accepting side says.
      far.order(() => {
        timeout.cancel()
        near.joinTo(far)
        near.opened()
      })
      listening.onConnection(far)
    })
    return near
  }

  private listen(
    host: string,
    scope: SimScope,
    local: Address,
    onConnection: (stream: ByteStream) => void,
  ): Promise<Listener> {
    const parsed = parseAddress(local)
    if (parsed === undefined) return Promise.reject(new ClusterError('EINVAL', `not HOST:PORT: ${local}`))
    const at = address(`${parsed.host}:${parsed.port === 0 ? this.nextPort++ : parsed.port}`)
    if (this.listening.has(at)) return Promise.reject(new ClusterError('EBUSY', `${at} is taken`))
    this.listening.set(at, { host, scope, onConnection })
    return Promise.resolve({
      address: at,
      close: async () => {
        if (this.listening.get(at)?.scope === scope) this.listening.delete(at)
        for (const stream of this.streams) if (stream.acceptedBy === at) stream.destroy()
      },
    })
  }
}
