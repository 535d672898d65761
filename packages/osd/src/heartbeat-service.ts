/**
 * Pings between OSDs over connections of their own, so that a full data connection never looks like death, and a dead
 * process never looks like a full connection. Drives a {@link HeartbeatTracker}.
 *
 * While promises are used every peer that gives one is pinged at each interval; otherwise less often.
 *
 * A connection that breaks is opened again at once: where the process is gone its host refuses, and the peer is reported
 * without waiting for the grace.
 */
import { type Address, type Env, type Epoch, entityName, type OsdId, type Timer } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import {
  type LossySession,
  Messenger,
  type MessengerCounters,
  type MessengerSecurity,
  type ReceivedFrame,
} from '@shoal/messenger'
import { decodeMessage, encodeMessage, type Message, type Ping, type PingReply } from '@shoal/wire'
import {
  type HeartbeatPeer,
  type HeartbeatReport,
  type HeartbeatSettings,
  HeartbeatTracker,
} from './heartbeat-tracker.ts'
import type { LeaseTable } from './lease-table.ts'
import type { PerfCounters } from './perf-counters.ts'

export interface HeartbeatOptions {
  readonly whoami: OsdId
  readonly incarnation: number
  readonly fsid: string
  readonly security: MessengerSecurity | undefined
  readonly settings: HeartbeatSettings
  readonly counters: PerfCounters
  readonly leases: LeaseTable
  /** What a peer may have under way to this OSD: told with every answer. */
  readonly roomBytes: () => number
  readonly onRoom: (peer: OsdId, roomBytes: number) => void
  readonly onReport: (report: HeartbeatReport) => void
}

interface Link {
  readonly incarnation: number
  readonly address: Address
  session: LossySession | undefined
}

/** After a connection broke: not at once in the same turn, in case both ends do the same. */
const reconnectMs = 20

export class HeartbeatService {
  private readonly env: Env
  private readonly options: HeartbeatOptions
  private readonly tracker: HeartbeatTracker
  private readonly links = new Map<OsdId, Link>()
  private readonly reconnects = new Set<Timer>()
  private messenger: Messenger | undefined
  private map: OsdMap | undefined
  private timer: Timer | undefined
  /** Until the next tick, before jitter. */
  private nextMs: number
  private tickIsDue = false
  private stopped = false

  constructor(env: Env, options: HeartbeatOptions) {
    this.env = env
    this.options = options
    this.nextMs = options.settings.osd_heartbeat_interval * 1000
    this.tracker = new HeartbeatTracker(options.settings)
    // In a turn of its own: whoever wants a promise is in the middle of something.
    options.leases.onWanted = () => {
      if (!this.tickIsDue) env.timers.soon(() => this.tickNow())
      this.tickIsDue = true
    }
  }

  /** Listens; returns the address with its port. */
  async start(address: Address): Promise<Address> {
    const { whoami, incarnation, fsid, security } = this.options
    this.messenger = await Messenger.create(
      this.env,
      { name: entityName('osd', whoami), nonce: incarnation, fsid, security },
      {
        onSession: (session) => {
          session.onFrame = (frame) => this.onFrame(session, frame)
        },
        onPeerFrame: () => undefined,
        onPeerReset: () => undefined,
      },
    )
    const bound = await this.messenger.bind(address)
    this.schedule()
    return bound
  }

  async stop(): Promise<void> {
    this.stopped = true
    this.timer?.cancel()
    for (const timer of this.reconnects) timer.cancel()
    await this.messenger?.close()
  }

  setPeers(map: OsdMap, peers: readonly HeartbeatPeer[]): void {
    this.map = map
    this.tracker.setPeers(peers, this.env.clock.monotonicMs())
    const wanted = new Set(peers.map((peer) => peer.osd))
    for (const [osd, link] of this.links) {
      const info = map.osds.get(osd)
      if (wanted.has(osd) && info?.addresses?.heartbeat === link.address && info.incarnation === link.incarnation)
        continue
      this.links.delete(osd)
      link.session?.close()
    }
    // New peers at once, not at the next tick: until they answer, this OSD holds no lease and serves no reads.
    for (const peer of peers) if (!this.links.has(peer.osd)) this.ping(peer)
  }

  get messengerCounters(): MessengerCounters | undefined {
    return this.messenger?.counters
  }

  silentPeers(): readonly OsdId[] {
    return this.tracker.silentPeers(this.env.clock.monotonicMs())
  }

  isHealthy(): boolean {
    return this.tracker.isHealthy(this.env.clock.monotonicMs())
  }

  private schedule(): void {
    if (this.stopped) return
    const delayMs = this.nextMs * (0.8 + 0.4 * this.env.random.fraction())
    this.timer = this.env.timers.after(delayMs, () => this.tickNow())
  }

  private tickNow(): void {
    this.tickIsDue = false
    if (this.stopped) return
    this.timer?.cancel()
    this.tick()
    this.schedule()
  }

  private tick(): void {
    const { leases } = this.options
    const nowMs = this.env.clock.monotonicMs()
    const { ping, report, nextMs } = this.tracker.tick(nowMs, (osd) => leases.isWanted(osd, nowMs))
    this.nextMs = nextMs
    for (const each of report) this.options.onReport(each)
    for (const peer of ping) this.ping(peer)
  }

  private ping(peer: HeartbeatPeer): void {
    const session = this.linkTo(peer)?.session
    // An unanswered connection attempt gathers no backlog of pings.
    if (session === undefined || (session.peer === undefined && session.bufferedBytes > 0)) return
    const { whoami, incarnation, leases } = this.options
    const stampMs = this.env.clock.monotonicMs()
    leases.onPingSent(peer.osd, stampMs, this.epoch)
    send(session, { type: 'ping', from: whoami, incarnation, epoch: this.epoch, stampMs })
  }

  private linkTo(peer: HeartbeatPeer): Link | undefined {
    const address = this.map?.osds.get(peer.osd)?.addresses?.heartbeat
    if (address === undefined || this.messenger === undefined) return undefined
    let link = this.links.get(peer.osd)
    if (link === undefined) {
      link = { incarnation: peer.incarnation, address, session: undefined }
      this.links.set(peer.osd, link)
    }
    if (link.session === undefined) this.open(peer, link)
    return link
  }

  private open(peer: HeartbeatPeer, link: Link): void {
    const session = this.messenger?.connect(link.address, entityName('osd', peer.osd))
    if (session === undefined) return
    link.session = session
    session.onFrame = (frame) => this.onFrame(session, frame)
    session.onReset = (error) => this.onReset(peer, link, session, error)
  }

  private onReset(peer: HeartbeatPeer, link: Link, session: LossySession, error: Error | undefined): void {
    if (this.stopped || link.session !== session) return
    link.session = undefined
    if (this.links.get(peer.osd) !== link) return
    if (isRefused(error)) {
      const report = this.tracker.onRefused(peer.osd, peer.incarnation, this.env.clock.monotonicMs())
      if (report !== undefined) this.options.onReport(report)
      return
    }
    // It had answered before: ask its host at once whether the process still listens.
    if (session.peer === undefined) return
    const timer = this.env.timers.after(reconnectMs, () => {
      this.reconnects.delete(timer)
      if (this.links.get(peer.osd) === link && link.session === undefined) this.open(peer, link)
    })
    this.reconnects.add(timer)
  }

  private onFrame(session: LossySession, frame: ReceivedFrame): void {
    const message = decodeMessage(frame.type, frame.header, frame.payload)
    if (message.type === 'ping') this.onPing(session, message)
    else if (message.type === 'ping-reply') this.onReply(message)
  }

  private onPing(session: LossySession, ping: Ping): void {
    const { whoami, incarnation, leases, roomBytes } = this.options
    const info = this.map?.osds.get(ping.from)
    if (info?.up === true && info.incarnation === ping.incarnation) {
      leases.onPing(ping.from, ping.epoch, this.epoch, this.env.clock.monotonicMs())
    }
    const reply = { from: whoami, incarnation, epoch: this.epoch, stampMs: ping.stampMs, roomBytes: roomBytes() }
    send(session, { type: 'ping-reply', ...reply })
  }

  private onReply(reply: PingReply): void {
    const { counters, leases, onReport, onRoom } = this.options
    const nowMs = this.env.clock.monotonicMs()
    counters.heartbeatRoundTripUs.record(Math.max(0, nowMs - reply.stampMs) * 1000)
    if (this.map?.osds.get(reply.from)?.incarnation !== reply.incarnation) return
    // A map from before this run does not show it as up: whoever answers by such a map has promised it nothing.
    const upFrom = this.map.osds.get(this.options.whoami)?.upFrom ?? Number.POSITIVE_INFINITY
    if (reply.epoch >= upFrom) leases.onReply(reply.from, reply.stampMs, reply.epoch)
    onRoom(reply.from, reply.roomBytes)
    const retraction = this.tracker.onReply(reply.from, reply.incarnation, nowMs)
    if (retraction !== undefined) onReport(retraction)
  }

  private get epoch(): Epoch {
    return this.map?.epoch ?? (0 as Epoch)
  }
}

function send(session: LossySession, message: Message): void {
  const { type, header, payload } = encodeMessage(message)
  session.send({ type, tid: 0, traceId: 0, header, payload })
}

function isRefused(error: Error | undefined): boolean {
  return (error as { readonly code?: unknown } | undefined)?.code === 'ECONNREFUSED'
}
