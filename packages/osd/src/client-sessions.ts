/**
 * The clients' side of an OSD: sessions, their operations in flight, the throttle, replies.
 *
 * Invariant 1: what is in flight stays near its caps: a session that sends more is not read from until there is room.
 * Invariant 2: an operation leaves the throttle exactly once: replied, replaced by its resend, dropped with its session
 *              or with the interval in which it was received (its client sends it again).
 * Invariant 3: a client that does not read its replies is not read from.
 */
import { ClusterError, type Env, type PgId } from '@shoal/base'
import type { LossySession, ReceivedFrame } from '@shoal/messenger'
import { type ClientOp, type ClientOpReply, decodeMessage, encodeMessage, type WatchEvent } from '@shoal/wire'
import { type OpTracker, TrackedOp } from './op-tracker.ts'
import type { PerfCounters } from './perf-counters.ts'
import type { OsdSettings } from './settings.ts'

export interface ClientSessionsOptions {
  /** Caps on what is in flight. Read at use. */
  readonly settings: Pick<OsdSettings, 'osd_client_message_size_cap' | 'osd_client_message_cap'>
  readonly tracker: OpTracker
  readonly counters: PerfCounters
  /** `bytes`: of its payload. */
  readonly onOp: (session: number, op: ClientOp, bytes: number) => void
  /** One was answered, or waits for other clients from now on. */
  readonly onDone: () => void
  /** The PGs that may hold operations of the session. */
  readonly onClosed: (session: number, pgs: ReadonlySet<PgId>) => void
}

interface ClientSession {
  readonly session: LossySession
  readonly ops: Map<number, TrackedOp>
  /** Why it is not read from. */
  throttled: boolean
  clogged: boolean
}

/** What an operation costs besides its payload. */
const opOverheadBytes = 512

export class ClientSessions {
  private readonly env: Env
  private readonly options: ClientSessionsOptions
  private readonly sessions = new Map<number, ClientSession>()
  private readonly throttled = new Set<ClientSession>()
  private bytes = 0
  private ops = 0
  private spaceBytesInFlight = 0

  constructor(env: Env, options: ClientSessionsOptions) {
    this.env = env
    this.options = options
  }

  get count(): number {
    return this.sessions.size
  }

  get inFlight(): { readonly ops: number; readonly bytes: number } {
    return { ops: this.ops, bytes: this.bytes }
  }

  /** What the operations in flight may take of each disk. */
  get spaceBytes(): number {
    return this.spaceBytesInFlight
  }

  add(session: LossySession): void {
    const client: ClientSession = { session, ops: new Map(), throttled: false, clogged: false }
    this.sessions.set(session.id, client)
    session.onFrame = (frame) => this.onFrame(client, frame)
    session.onReset = () => this.onReset(client)
    session.onDrain = () => {
      client.clogged = false
      this.mayResume(client)
    }
  }

  reply(sessionId: number, reply: ClientOpReply): void {
    const client = this.sessions.get(sessionId)
    if (client === undefined) return
    const tracked = client.ops.get(reply.request.tid)
    if (tracked !== undefined) {
      const nowMs = this.env.clock.monotonicMs()
      const { counters, tracker } = this.options
      const latency = tracked.isWrite ? counters.writeLatencyUs : counters.readLatencyUs
      latency.record((nowMs - tracked.startMs) * 1000)
      tracker.finish(tracked, nowMs)
      this.release(client, tracked)
    }
    this.send(client, reply, reply.request.tid)
    this.options.onDone()
  }

  /** Something that the client did not ask for; dropped when the session is gone. */
  sendEvent(sessionId: number, event: WatchEvent): void {
    const client = this.sessions.get(sessionId)
    if (client !== undefined) this.send(client, event, 0)
  }

  /** It waits for other clients: it must not keep them out, nor pass for slow. Whoever parks it bounds how many wait. */
  park(sessionId: number, tid: number): void {
    const client = this.sessions.get(sessionId)
    const tracked = client?.ops.get(tid)
    if (client === undefined || tracked === undefined) return
    this.options.tracker.drop(tracked)
    this.release(client, tracked)
    this.options.onDone()
  }

  mark(sessionId: number, tid: number, stage: string): void {
    this.sessions.get(sessionId)?.ops.get(tid)?.mark(stage, this.env.clock.monotonicMs())
  }

  /** Their interval is over: the clients send them again, here or elsewhere. */
  dropOpsOf(pgs: ReadonlySet<PgId>): void {
    if (pgs.size === 0 || this.ops === 0) return
    for (const client of this.sessions.values()) {
      for (const tracked of [...client.ops.values()]) {
        if (!pgs.has(tracked.op.pgId)) continue
        this.options.tracker.drop(tracked)
        this.release(client, tracked)
      }
    }
    this.options.onDone()
  }

  /** Whether the client still waits for this very operation here: not when its session or its interval is over. */
  isTracked(sessionId: number, op: ClientOp): boolean {
    return this.sessions.get(sessionId)?.ops.get(op.request.tid)?.op === op
  }

  private send(client: ClientSession, message: ClientOpReply | WatchEvent, tid: number): void {
    const { type, header, payload } = encodeMessage(message)
    const clear = client.session.send({ type, tid, traceId: 0, header, payload })
    if (!clear && !client.clogged) {
      client.clogged = true
      client.session.pause()
    }
  }

  private onFrame(client: ClientSession, frame: ReceivedFrame): void {
    const op = decodeMessage(frame.type, frame.header, frame.payload)
    if (op.type !== 'client-op') throw new ClusterError('EPROTO', `a client sent ${op.type}`)
    const costBytes = frame.payload.length + frame.header.length + opOverheadBytes
    const tracked = new TrackedOp(op, client.session.id, costBytes, this.env.clock.monotonicMs())
    const before = client.ops.get(op.request.tid)
    if (before !== undefined) {
      this.options.tracker.drop(before)
      this.release(client, before)
    }
    client.ops.set(op.request.tid, tracked)
    this.options.tracker.begin(tracked)
    this.ops++
    this.bytes += costBytes
    this.spaceBytesInFlight += tracked.spaceBytes
    if (this.isOverCap() && !client.throttled) {
      client.throttled = true
      this.throttled.add(client)
      this.options.counters.add('clientSessionsThrottled')
      client.session.pause()
    }
    this.options.onOp(client.session.id, op, frame.payload.length)
  }

  private onReset(client: ClientSession): void {
    this.sessions.delete(client.session.id)
    this.throttled.delete(client)
    const pgs = new Set<PgId>()
    for (const tracked of [...client.ops.values()]) {
      pgs.add(tracked.op.pgId)
      this.options.tracker.drop(tracked)
      this.release(client, tracked)
    }
    this.options.onClosed(client.session.id, pgs)
    this.options.onDone()
  }

  private release(client: ClientSession, tracked: TrackedOp): void {
    client.ops.delete(tracked.op.request.tid)
    this.ops--
    this.bytes -= tracked.costBytes
    this.spaceBytesInFlight -= tracked.spaceBytes
    if (this.throttled.size === 0 || this.isOverCap()) return
    for (const waiting of this.throttled) {
      waiting.throttled = false
      this.mayResume(waiting)
    }
    this.throttled.clear()
  }

  private mayResume(client: ClientSession): void {
    if (!client.throttled && !client.clogged && !client.session.isClosed) client.session.resume()
  }

  private isOverCap(): boolean {
    const { osd_client_message_size_cap, osd_client_message_cap } = this.options.settings
    return this.ops >= osd_client_message_cap || this.bytes >= osd_client_message_size_cap
  }
}
