/** The throttle of client operations, and who is let go when. */
import type { Epoch, PgId, PoolId } from '@shoal/base'
import type { LossySession, OutgoingFrame, ReceivedFrame } from '@shoal/messenger'
import { makeSimEnv } from '@shoal/testkit'
import { type ClientOp, type ClientOpReply, encodeMessage, headSnap, zeroVersion } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import { ClientSessions } from '../src/client-sessions.ts'
import { OpTracker } from '../src/op-tracker.ts'
import { PerfCounters } from '../src/perf-counters.ts'

class FakeSession {
  onFrame: (frame: ReceivedFrame) => void = () => undefined
  onReset: (error: Error | undefined) => void = () => undefined
  onDrain: () => void = () => undefined
  readonly sent: OutgoingFrame[] = []
  readonly id: number
  isClosed = false
  paused = false
  clear = true

  constructor(id: number) {
    this.id = id
  }

  send(frame: OutgoingFrame): boolean {
    this.sent.push(frame)
    return this.clear
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
  }

  write(tid: number, length: number, pgId = '1.0'): void {
    const object = { pool: 1 as PoolId, hash: 1, namespace: '', name: 'thing', snap: headSnap }
    const op: ClientOp = {
      type: 'client-op',
      request: { client: this.id, tid },
      oldestTid: tid,
      pgId: pgId as PgId,
      epoch: 1 as Epoch,
      object,
      ops: [{ kind: 'append', data: new Uint8Array(length) }],
      attempt: 0,
    }
    const { type, header, payload } = encodeMessage(op)
    this.onFrame({ type, tid, traceId: 0, header, payload: payload[0] ?? new Uint8Array(0) })
  }
}

function setUp(bytesMax: number, opsMax: number) {
  const { env } = makeSimEnv({ seed: 2 })
  const counters = new PerfCounters()
  const tracker = new OpTracker({ osd_op_complaint_time: 1, osd_op_history_size: 5 })
  const closed: [number, readonly string[]][] = []
  const ops: ClientOp[] = []
  const sessions = new ClientSessions(env, {
    onDone: () => {},
    settings: { osd_client_message_size_cap: bytesMax, osd_client_message_cap: opsMax },
    tracker,
    counters,
    onOp: (_session, op) => ops.push(op),
    onClosed: (session, pgs) => closed.push([session, [...pgs]]),
  })
  const connect = (id: number) => {
    const session = new FakeSession(id)
    sessions.add(session as Partial<LossySession> as LossySession)
    return session
  }
  const reply = (session: number, tid: number) => {
    const answer = { request: { client: session, tid }, pgId: '1.0' as PgId, epoch: 1 as Epoch, errno: 0, detail: '' }
    const message: ClientOpReply = { type: 'client-op-reply', ...answer, results: [], version: zeroVersion, attempt: 0 }
    sessions.reply(session, message)
  }
  return { sessions, tracker, closed, ops, connect, reply }
}

describe('client sessions', () => {
  it('stop reading at the cap of bytes and go on when there is room', () => {
    const { sessions, connect, reply, ops } = setUp(10_000, 100)
    const [greedy, modest] = [connect(1), connect(2)]
    greedy.write(1, 6_000)
    expect(greedy.paused).toBe(false)
    greedy.write(2, 6_000)
    expect(greedy.paused).toBe(true)
    modest.write(3, 100)
    expect(modest.paused).toBe(true)
    expect(ops).toHaveLength(3)
    reply(1, 1)
    expect([greedy.paused, modest.paused]).toEqual([false, false])
    reply(1, 2)
    reply(2, 3)
    expect(sessions.inFlight).toEqual({ ops: 0, bytes: 0 })
  })

  it('stop reading at the cap of operations', () => {
    const { connect, reply } = setUp(1_000_000, 3)
    const session = connect(1)
    for (const tid of [1, 2, 3]) session.write(tid, 10)
    expect(session.paused).toBe(true)
    reply(1, 2)
    expect(session.paused).toBe(false)
  })

  it('know of an operation until its answer, its session or its interval, and not of one that was sent before it', () => {
    const { sessions, connect, reply, ops } = setUp(1_000_000, 100)
    const session = connect(1)
    session.write(1, 10)
    const [first] = ops as [ClientOp]
    expect(sessions.isTracked(1, first)).toBe(true)
    sessions.dropOpsOf(new Set([first.pgId]))
    expect(sessions.isTracked(1, first)).toBe(false)
    session.write(1, 10)
    const again = ops.at(-1) as ClientOp
    expect([sessions.isTracked(1, first), sessions.isTracked(1, again)]).toEqual([false, true])
    reply(1, 1)
    expect(sessions.isTracked(1, again)).toBe(false)
  })

  it('count a resend once, and forget what its interval or its session took along', () => {
    const { sessions, tracker, connect, closed } = setUp(1_000_000, 100)
    const session = connect(1)
    session.write(1, 10)
    session.write(1, 10)
    session.write(2, 10, '1.1')
    session.write(3, 10, '1.2')
    expect(sessions.inFlight.ops).toBe(3)
    sessions.dropOpsOf(new Set(['1.1' as PgId]))
    expect(sessions.inFlight.ops).toBe(2)
    session.onReset(undefined)
    expect(sessions.inFlight).toEqual({ ops: 0, bytes: 0 })
    expect(tracker.size).toBe(0)
    expect(closed).toEqual([[1, ['1.0', '1.2']]])
  })

  it('do not read from a client that does not read', () => {
    const { connect, reply } = setUp(1_000_000, 100)
    const session = connect(1)
    session.clear = false
    session.write(1, 10)
    reply(1, 1)
    expect(session.paused).toBe(true)
    session.onDrain()
    expect(session.paused).toBe(false)
  })

  it('end a session that sends anything but operations', () => {
    const { connect } = setUp(1_000_000, 100)
    const session = connect(1)
    const frame = { tid: 0, traceId: 0, payload: new Uint8Array(0) }
    const ping = encodeMessage({ type: 'ping', from: 1 as never, incarnation: 1, epoch: 1 as Epoch, stampMs: 0 })
    expect(() => session.onFrame({ ...frame, type: ping.type, header: ping.header })).toThrow(/a client sent ping/)
    expect(() => session.onFrame({ ...frame, type: 16, header: new Uint8Array([1, 2, 3]) })).toThrow(/input ends/)
    expect(() => session.onFrame({ ...frame, type: 999, header: new Uint8Array(0) })).toThrow(/unknown message type/)
  })
})
