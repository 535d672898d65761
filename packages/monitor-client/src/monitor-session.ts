/**
 * The session with one monitor at a time, and the hunt for another when it goes away.
 *
 * Invariant 1: at most one subscription is open. Replies and updates of an earlier one are ignored.
 * Invariant 2: after a full round of monitors without success the hunt waits, longer each time, up to `backoffMsMax`.
 */
import { type Address, ClusterError, type Env, must, type Timer } from '@shoal/base'
import type { MapFollower } from './map-follower.ts'
import type { MapUpdate, MonitorConnection, MonitorTransport } from './transport.ts'

export interface MonitorSessionOptions {
  readonly entity: string
  readonly host: string
  readonly monitors: readonly Address[]
  readonly maps: MapFollower
  /** A leader of a later term came: it knows nothing that was only in its predecessor's memory. */
  readonly onNewTerm: () => void
}

/** A monitor that says nothing for so long after a subscription is passed over. */
const firstUpdateTimeoutMs = 3_000
const backoffMsMin = 100
const backoffMsMax = 3_000

export class MonitorSession {
  closed = false
  /** Of the newest leader that was heard of. */
  leaderTerm = 0
  private readonly env: Env
  private readonly transport: MonitorTransport
  private readonly options: MonitorSessionOptions
  private at: number
  private connection: { readonly address: Address; readonly link: MonitorConnection } | undefined
  private subscription: { cancel(): void } | undefined
  private timer: Timer | undefined
  private failures = 0
  private backoffMs = backoffMsMin
  private generation = 0

  constructor(env: Env, transport: MonitorTransport, options: MonitorSessionOptions) {
    this.env = env
    this.transport = transport
    this.options = options
    this.at = env.random.below(options.monitors.length)
  }

  /** Subscribes and keeps subscribed until `close`. */
  start(): void {
    if (this.subscription === undefined && this.timer === undefined) this.subscribe()
  }

  close(): void {
    this.closed = true
    this.drop()
  }

  get currentAddress(): Address {
    const candidates = this.candidates()
    return this.connection?.address ?? must(candidates[this.at % candidates.length], 'a monitor to ask')
  }

  /** The connection to the present monitor. Throws ESHUTDOWN after `close`. */
  current(): MonitorConnection {
    if (this.closed) throw new ClusterError('ESHUTDOWN', 'the monitor client was closed')
    if (this.connection === undefined) {
      const address = this.currentAddress
      this.connection = { address, link: this.transport.connect(address) }
    }
    return this.connection.link
  }

  /** Goes to another monitor, unless the session has left this one already. */
  leave(address: Address): void {
    if (this.closed || this.currentAddress !== address) return
    const subscribed = this.subscription !== undefined || this.timer !== undefined
    this.moveOn()
    if (subscribed) this.subscribe()
  }

  private candidates(): readonly Address[] {
    const known = this.options.maps.monitorMap?.monitors.map((monitor) => monitor.address) ?? []
    return [...new Set([...known, ...this.options.monitors])]
  }

  private subscribe(): void {
    if (this.closed) return
    this.timer?.cancel()
    const generation = ++this.generation
    const { maps, entity, host } = this.options
    const address = this.currentAddress
    const request = { entity, host, osdMapEpoch: maps.epoch, monitorMapEpoch: maps.monitorMap?.epoch ?? 0 }
    this.timer = this.env.timers.after(firstUpdateTimeoutMs, () => {
      if (generation === this.generation) this.hunt(`${address} is silent`)
    })
    this.subscription = this.current().subscribe(request, {
      onUpdate: (update) => {
        if (generation === this.generation) this.onUpdate(update)
      },
      onEnd: (reason) => {
        if (generation === this.generation) this.hunt(reason.message)
      },
    })
  }

  private onUpdate(update: MapUpdate): void {
    this.timer?.cancel()
    this.timer = undefined
    try {
      this.options.maps.apply(update)
    } catch (error) {
      this.env.log.warn('a map update does not fit', { monitor: this.currentAddress, error })
      this.hunt('a map update does not fit')
      return
    }
    this.failures = 0
    this.backoffMs = backoffMsMin
    if (update.quorum !== undefined && update.quorum.leaderId !== 0 && update.quorum.term > this.leaderTerm) {
      this.leaderTerm = update.quorum.term
      this.options.onNewTerm()
    }
  }

  private hunt(reason: string): void {
    if (this.closed) return
    this.env.log.debug('looking for another monitor', { left: this.currentAddress, reason })
    this.moveOn()
    this.failures++
    const round = this.failures % Math.max(1, this.candidates().length) === 0
    const delayMs = round ? this.backoffMs * (0.5 + this.env.random.fraction()) : 0
    if (round) this.backoffMs = Math.min(backoffMsMax, this.backoffMs * 2)
    const generation = this.generation
    this.timer = this.env.timers.after(delayMs, () => {
      if (generation === this.generation) this.subscribe()
    })
  }

  private moveOn(): void {
    const candidates = this.candidates()
    const index = candidates.indexOf(this.currentAddress)
    this.drop()
    this.at = (index + 1) % candidates.length
  }

  private drop(): void {
    this.generation++
    this.timer?.cancel()
    this.timer = undefined
    this.subscription?.cancel()
    this.subscription = undefined
    this.connection?.link.close()
    this.connection = undefined
  }
}
