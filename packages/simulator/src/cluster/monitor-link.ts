/**
 * One connection between a client of the monitors and one of them, as HTTP/2 would carry it: messages of one direction
 * arrive in order, or the connection breaks. Partitions, slow links and stopped processes are the simulated network's.
 */
import { type Address, ClusterError } from '@shoal/base'
import type { MonitorService } from '@shoal/monitor-client'
import type { SimNetwork, SimScope } from '@shoal/testkit'

export interface Endpoint {
  readonly host: string
  readonly scope: SimScope
}

export interface ServedMonitor extends Endpoint {
  readonly service: MonitorService
}

export interface LinkWorld {
  readonly network: SimNetwork
  readonly nowMs: () => number
  find(address: Address): ServedMonitor | undefined
  note(from: string, to: string, what: string): void
}

/** A connection that nobody answers is given up after this. */
const connectTimeoutMs = 20_000
/** A connection over which nothing passes is given up after this: gRPC's keepalive with our settings. */
const keepaliveMs = 15_000

interface OnWay {
  readonly act: () => void
  arrived: boolean
}

export class MonitorLink {
  readonly near: Endpoint
  readonly farHost: string
  private readonly world: LinkWorld
  private readonly address: Address
  private readonly openedMs: number
  private readonly there: OnWay[] = []
  private readonly back: OnWay[] = []
  private readonly nearEnds = new Set<(reason: ClusterError) => void>()
  private readonly farEnds = new Set<() => void>()
  private readonly waitingForRoom: { readonly below: number; readonly act: () => void }[] = []
  private far: ServedMonitor | undefined
  private blockedSinceMs: number | undefined
  private broken = false

  constructor(world: LinkWorld, near: Endpoint, farHost: string, address: Address) {
    this.world = world
    this.near = near
    this.farHost = farHost
    this.address = address
    this.openedMs = world.nowMs()
  }

  get isBroken(): boolean {
    return this.broken
  }

  /** Messages to the monitor that are on their way. */
  get backlog(): number {
    return this.there.length
  }

  get backlogBack(): number {
    return this.back.length
  }

  /**
   * Told once, when fewer messages are on their way to the client, whatever they are. The monitor would hear of the room by
   * a window update, which we take to be immediate.
   */
  whenBackIsShorter(below: number, act: () => void): void {
    this.waitingForRoom.push({ below, act })
  }

  /** The client's end is told, in a turn of its own, when the link breaks. Gives how to take that back. */
  onNearEnd(end: (reason: ClusterError) => void): () => void {
    this.nearEnds.add(end)
    return () => this.nearEnds.delete(end)
  }

  /** The monitor's end is told. */
  onFarEnd(end: () => void): () => void {
    this.farEnds.add(end)
    return () => this.farEnds.delete(end)
  }

  send(what: string, act: (far: ServedMonitor) => void): void {
    const { near, farHost, world } = this
    world.note(near.host, farHost, what)
    this.carry(this.there, near.host, farHost, () => {
      this.far ??= world.find(this.address)
      if (this.far === undefined) {
        this.breakNear(new ClusterError('ECONNREFUSED', `nobody listens on ${this.address}`, { retry: true }))
      } else if (!this.far.scope.ended) {
        act(this.far)
      }
    })
  }

  reply(what: string, act: () => void): void {
    const { near, farHost, world } = this
    if (this.far?.scope.ended === true) return
    world.note(farHost, near.host, what)
    this.carry(this.back, farHost, near.host, () => {
      if (!near.scope.ended) act()
      this.offerRoom()
    })
  }

  private offerRoom(): void {
    const { waitingForRoom, back } = this
    if (waitingForRoom.length === 0 || this.far?.scope.ended === true) return
    for (const one of waitingForRoom.splice(0)) {
      if (back.length < one.below) one.act()
      else waitingForRoom.push(one)
    }
  }

  /** An end's process is gone, or the client closed: the other end learns of it after the way. */
  end(from: 'near' | 'far', reason: ClusterError): void {
    if (this.broken) return
    const { near, farHost, world } = this
    if (from === 'near') {
      this.nearEnds.clear()
      this.carry(this.there, near.host, farHost, () => this.breakFar())
    } else {
      world.network.send(farHost, near.host, () => this.breakNear(reason))
    }
  }

  /** What TCP's and HTTP/2's timers notice. False once the link is of no use any more. */
  sweep(): boolean {
    if (this.broken) return false
    const { near, farHost, world, far } = this
    const { network } = world
    const nowMs = world.nowMs()
    if (near.scope.ended && !network.isSilent(near.host)) this.breakFar()
    else if (far?.scope.ended === true && !network.isSilent(farHost)) this.breakNear(this.wentAway())
    else if (far === undefined && nowMs - this.openedMs > connectTimeoutMs) this.breakNear(this.wentAway())
    if (network.isReachable(near.host, farHost) && network.isReachable(farHost, near.host)) {
      this.blockedSinceMs = undefined
    } else {
      this.blockedSinceMs ??= nowMs
      if (nowMs - this.blockedSinceMs > keepaliveMs) this.breakNear(this.wentAway())
    }
    return !this.broken
  }

  private wentAway(): ClusterError {
    return new ClusterError('ECONNRESET', `${this.address} went away`, { retry: true, outcome: 'unknown' })
  }

  private breakNear(reason: ClusterError): void {
    if (this.broken) return
    this.broken = true
    const ends = [...this.nearEnds]
    this.nearEnds.clear()
    // A stopped process learns of it when it goes on, a dead one never.
    this.near.scope.timers.soon(() => {
      for (const end of ends) end(reason)
    })
    this.tellFar()
  }

  private breakFar(): void {
    if (this.broken) return
    this.broken = true
    this.tellFar()
  }

  private tellFar(): void {
    const ends = [...this.farEnds]
    this.farEnds.clear()
    this.far?.scope.timers.soon(() => {
      for (const end of ends) end()
    })
  }

  private carry(lane: OnWay[], from: string, to: string, act: () => void): void {
    if (this.broken) return
    const item: OnWay = { act, arrived: false }
    lane.push(item)
    this.world.network.send(from, to, () => {
      item.arrived = true
      while (lane[0]?.arrived === true) {
        const first = lane.shift()
        if (!this.broken) first?.act()
      }
    })
  }
}
