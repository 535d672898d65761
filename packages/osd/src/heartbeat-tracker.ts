/**
 * Who answers pings and who does not: the bookkeeping of heartbeats without their I/O. Time comes in with every call.
 *
 * Invariant 1: a peer is reported only after silence of the whole grace in which this OSD was itself awake: after a pause
 *              of this process (SIGSTOP, a suspended machine) everybody's silence starts anew. Time in which it was not
 *              asked, beyond the usual interval, is no silence.
 * Invariant 2: what was reported is taken back as soon as the same run of the peer answers.
 * Invariant 3: a report names the run that was pinged; a peer that restarted is a new peer.
 */
import type { OsdId } from '@shoal/base'
import type { OsdSettings } from './settings.ts'

export interface HeartbeatPeer {
  readonly osd: OsdId
  readonly incarnation: number
}

export interface HeartbeatReport {
  readonly osd: OsdId
  readonly incarnation: number
  readonly silentForMs: number
  readonly refused: boolean
  readonly retracted: boolean
}

export interface HeartbeatTick {
  readonly ping: readonly HeartbeatPeer[]
  readonly report: readonly HeartbeatReport[]
  /** When to tick again; to be drawn from 0.8 to 1.2 of it. */
  readonly nextMs: number
}

interface PeerState extends HeartbeatPeer {
  /** When it last answered, or when we began to ask. */
  heardMs: number
  pingedMs: number
  /** When the first ping was due of those that came after its last answer. */
  unansweredMs: number | undefined
  answered: boolean
  refused: boolean
  reported: boolean
  reportedMs: number
}

/** Times between pings; the idle one to a peer of which nothing but life is wanted. Read at use. */
export type HeartbeatSettings = Pick<
  OsdSettings,
  'osd_heartbeat_interval' | 'osd_heartbeat_idle_interval' | 'osd_heartbeat_grace'
>

/** A report is repeated for as long as it is true: the monitor that heard it may be gone. */
const repeatReportMs = 2_000

export class HeartbeatTracker {
  private readonly settings: HeartbeatSettings
  private readonly peers = new Map<OsdId, PeerState>()
  private expectedMs: number | undefined

  constructor(settings: HeartbeatSettings) {
    this.settings = settings
  }

  /** Replaces the set of peers; known runs keep their state. */
  setPeers(peers: readonly HeartbeatPeer[], nowMs: number): void {
    const wanted = new Map(peers.map((peer) => [peer.osd, peer]))
    for (const [osd, state] of this.peers) {
      if (wanted.get(osd)?.incarnation !== state.incarnation) this.peers.delete(osd)
    }
    for (const peer of peers) {
      if (this.peers.has(peer.osd)) continue
      this.peers.set(peer.osd, {
        ...peer,
        heardMs: nowMs,
        pingedMs: Number.NEGATIVE_INFINITY,
        unansweredMs: undefined,
        answered: false,
        refused: false,
        reported: false,
        reportedMs: 0,
      })
    }
  }

  /** Whom to ping, and what to tell the monitors. `isWanted`: its promises are used, so it is pinged at every interval. */
  tick(nowMs: number, isWanted: (osd: OsdId) => boolean): HeartbeatTick {
    const { intervalMs, idleIntervalMs, graceMs } = this
    const lateMs = this.expectedMs === undefined ? 0 : nowMs - this.expectedMs
    const paused = lateMs > intervalMs + graceMs / 4
    const report: HeartbeatReport[] = []
    const ping: HeartbeatPeer[] = []
    let nextMs = idleIntervalMs
    for (const state of this.peers.values()) {
      if (paused) state.heardMs = Math.max(state.heardMs, nowMs)
      const overdue = state.refused || this.silentForMs(state, nowMs) >= graceMs
      if (overdue && !(state.reported && nowMs - state.reportedMs < repeatReportMs)) {
        report.push(this.reportOf(state, nowMs))
      }
      const often = state.unansweredMs !== undefined || !state.answered || isWanted(state.osd)
      if (often) nextMs = intervalMs
      // A tick comes early or late by a part of the interval.
      if (!often && nowMs - state.pingedMs < idleIntervalMs - intervalMs / 2) continue
      ping.push(state)
      state.pingedMs = nowMs
      state.unansweredMs ??= nowMs
    }
    this.expectedMs = nowMs + nextMs
    return { ping, report, nextMs }
  }

  /** A reply came. The retraction of an earlier report, if there was one. */
  onReply(osd: OsdId, incarnation: number, nowMs: number): HeartbeatReport | undefined {
    const state = this.peers.get(osd)
    if (state === undefined || state.incarnation !== incarnation) return undefined
    state.heardMs = nowMs
    state.unansweredMs = undefined
    state.answered = true
    state.refused = false
    if (!state.reported) return undefined
    state.reported = false
    return { osd, incarnation, silentForMs: 0, refused: false, retracted: true }
  }

  /** Its host refused a connection to the address of this run: it is gone. The report to send at once. */
  onRefused(osd: OsdId, incarnation: number, nowMs: number): HeartbeatReport | undefined {
    const state = this.peers.get(osd)
    if (state === undefined || state.incarnation !== incarnation || state.refused) return undefined
    state.refused = true
    return this.reportOf(state, nowMs)
  }

  /** Peers whose last reply is overdue. */
  silentPeers(nowMs: number): readonly OsdId[] {
    return [...this.peers.values()]
      .filter((state) => state.refused || this.silentForMs(state, nowMs) >= this.graceMs)
      .map((state) => state.osd)
  }

  /**
   * Whether this OSD may call itself alive: at least a third of its peers answered within the grace, or it has none.
   * An OSD that nobody answers would be marked down again as soon as it booted.
   */
  isHealthy(nowMs: number): boolean {
    let heard = 0
    for (const state of this.peers.values()) {
      if (state.answered && nowMs - state.heardMs < this.graceMs) heard++
    }
    return heard * 3 >= this.peers.size
  }

  private get intervalMs(): number {
    return this.settings.osd_heartbeat_interval * 1000
  }

  private get idleIntervalMs(): number {
    return Math.max(this.intervalMs, this.settings.osd_heartbeat_idle_interval * 1000)
  }

  private get graceMs(): number {
    return this.settings.osd_heartbeat_grace * 1000
  }

  private reportOf(state: PeerState, nowMs: number): HeartbeatReport {
    state.reported = true
    state.reportedMs = nowMs
    const { osd, incarnation, refused } = state
    return { osd, incarnation, silentForMs: this.silentForMs(state, nowMs), refused, retracted: false }
  }

  /** Invariant 1. A peer that could not be pinged, for want of a connection, owes an answer all the same. */
  private silentForMs({ heardMs, unansweredMs, answered }: PeerState, nowMs: number): number {
    if (!answered) return nowMs - heardMs
    if (unansweredMs === undefined) return 0
    return nowMs - Math.max(heardMs, unansweredMs - this.intervalMs)
  }
}
