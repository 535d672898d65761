/**
 * A client that keeps a few operations going and remembers when each began and ended. It follows maps with a delay,
 * resends when the primary changes, when an answer says so, when time passes, and now and then for no reason at all.
 */
import { type Epoch, errorTable, type Prng, utf8Encode } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import { type ClientOp, type ClientOpReply, headSnap, type ObjectId, type ObjectOp } from '@shoal/wire'
import type { EventQueue } from './event-queue.ts'
import { placeSimulated, simulatedPg, simulatedPool } from './map-authority.ts'

export type Intent =
  | { readonly kind: 'append'; readonly token: string }
  | { readonly kind: 'put'; readonly value: string }
  /** Fails with EEXIST where the object is. */
  | { readonly kind: 'create'; readonly value: string }
  | { readonly kind: 'remove' }
  | { readonly kind: 'read' }

export interface HistoryEntry {
  readonly client: number
  readonly object: string
  readonly intent: Intent
  readonly beganAt: number
  endedAt: number | undefined
  errno: number
  /** Of a write: where it stands in the PG's history. Of a read: the object's version. */
  version: number
  data: string
}

export interface ClientWorld {
  readonly queue: EventQueue
  readonly random: Prng
  deliverOp(session: number, to: number, op: ClientOp): void
  trace(text: string): void
}

const timeoutMs = 1_000
const pendingMax = 3
const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes)

export function simulatedObject(name: string): ObjectId {
  let hash = 7
  for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + name.charCodeAt(i) * 0x9e3779b1) >>> 0
  return { pool: simulatedPool, hash, namespace: '', name, snap: headSnap }
}

interface Pending {
  readonly entry: HistoryEntry
  readonly tid: number
  readonly ops: readonly ObjectOp[]
  attempt: number
  sentTo: number
}

export class SimulatedClient {
  readonly id: number
  private readonly world: ClientWorld
  private readonly history: HistoryEntry[]
  private readonly names: readonly string[]
  private readonly pending = new Map<number, Pending>()
  private map: OsdMap | undefined
  private nextTid = 1
  private stopped = false
  /** Writes of a client with an old map hang, and would soon keep it from reading. */
  onlyReads = false

  constructor(id: number, world: ClientWorld, history: HistoryEntry[], names: readonly string[]) {
    this.id = id
    this.world = world
    this.history = history
    this.names = names
  }

  get idle(): boolean {
    return this.pending.size === 0
  }

  get waitingFor(): readonly HistoryEntry[] {
    return [...this.pending.values()].map((one) => one.entry)
  }

  /** The session of this client with an OSD. */
  sessionWith(osd: number): number {
    return this.id * 1000 + osd
  }

  stop(): void {
    this.stopped = true
  }

  begin(): void {
    if (this.stopped) return
    const { random, queue } = this.world
    if (this.pending.size < pendingMax) {
      const name = this.names[random.below(this.names.length)] as string
      this.start(name, this.chooseIntent(name))
    }
    queue.after(random.fraction() * 60, () => this.begin())
  }

  /** Starts a read whose answer ends up in the history. */
  start(name: string, intent: Intent): void {
    const { queue } = this.world
    const entry: HistoryEntry = {
      client: this.id,
      object: name,
      intent,
      beganAt: queue.nowMs,
      endedAt: undefined,
      errno: 0,
      version: 0,
      data: '',
    }
    this.history.push(entry)
    const tid = this.nextTid++
    const pending: Pending = { entry, tid, ops: stepsOf(intent), attempt: -1, sentTo: -1 }
    this.pending.set(tid, pending)
    this.send(pending)
    this.watch(pending)
  }

  private chooseIntent(name: string): Intent {
    const { random } = this.world
    const unique = `${this.id}.${this.nextTid}`.padEnd(8, '_')
    const choice = random.below(10)
    if (choice < 4 || this.onlyReads) return { kind: 'read' }
    if (name.startsWith('log')) return { kind: 'append', token: unique }
    if (choice < 7) return { kind: 'put', value: unique.repeat(1 + random.below(30)) }
    return choice < 9 ? { kind: 'create', value: unique } : { kind: 'remove' }
  }

  private watch(pending: Pending): void {
    const { queue, random } = this.world
    queue.after(timeoutMs * (0.5 + random.fraction()), () => {
      if (!this.pending.has(pending.tid)) return
      this.send(pending)
      this.watch(pending)
    })
  }

  private send(pending: Pending): void {
    if (this.map === undefined) return
    const { queue, random } = this.world
    const to = placeSimulated(this.map).actingPrimary
    pending.attempt++
    pending.sentTo = to
    if (to < 0) return
    const op: ClientOp = {
      type: 'client-op',
      request: { client: this.id, tid: pending.tid },
      oldestTid: this.pending.keys().next().value ?? pending.tid,
      pgId: simulatedPg,
      epoch: this.map.epoch,
      object: simulatedObject(pending.entry.object),
      ops: pending.ops,
      attempt: pending.attempt,
    }
    this.world.deliverOp(this.sessionWith(to), to, op)
    // A copy that a broken connection gives out long after the answer.
    if (random.below(12) === 0) {
      queue.after(random.fraction() * 4_000, () => this.world.deliverOp(this.sessionWith(to), to, op))
    }
    if (random.below(12) === 0) this.world.deliverOp(this.sessionWith(to), to, { ...op, attempt: ++pending.attempt })
  }

  onMap(map: OsdMap): void {
    if (this.map !== undefined && map.epoch <= this.map.epoch) return
    this.map = map
    const primary = placeSimulated(map).actingPrimary
    for (const pending of this.pending.values()) if (pending.sentTo !== primary) this.send(pending)
  }

  onSessionLost(osd: number): void {
    for (const pending of this.pending.values()) {
      if (pending.sentTo === osd) this.world.queue.after(20, () => this.pending.has(pending.tid) && this.send(pending))
    }
  }

  onReply(reply: ClientOpReply): void {
    const pending = this.pending.get(reply.request.tid)
    if (pending === undefined) return
    if (reply.errno === errorTable.ESTALE.errno || reply.errno === errorTable.EAGAIN.errno) {
      this.world.queue.after(30, () => this.pending.has(pending.tid) && this.send(pending))
      return
    }
    this.pending.delete(reply.request.tid)
    const { entry } = pending
    entry.endedAt = this.world.queue.nowMs
    entry.errno = reply.errno
    entry.version = reply.version.version
    for (const result of reply.results) {
      if (result.kind === 'data') entry.data = text(result.data)
      if (result.kind === 'stat') entry.version = result.version
    }
    this.world.trace(
      `client.${this.id} ${entry.object} ${entry.intent.kind} -> ${entry.errno} @${entry.version} ${entry.data.length}`,
    )
  }

  get epoch(): Epoch {
    return this.map?.epoch ?? (0 as Epoch)
  }
}

function stepsOf(intent: Intent): readonly ObjectOp[] {
  switch (intent.kind) {
    case 'append':
      return [{ kind: 'append', data: utf8Encode(intent.token) }]
    case 'put':
      return [
        { kind: 'write-full', data: utf8Encode(intent.value) },
        { kind: 'set-xattr', name: 'value', value: utf8Encode(intent.value) },
        { kind: 'omap-set', entries: [{ key: utf8Encode(intent.value.slice(0, 8)), value: utf8Encode('x') }] },
      ]
    case 'create':
      return [
        { kind: 'create', exclusive: true },
        { kind: 'write', offset: 0, data: utf8Encode(intent.value) },
      ]
    case 'remove':
      return [{ kind: 'remove' }]
    case 'read':
      return [{ kind: 'read', offset: 0, length: 1 << 20 }, { kind: 'stat' }]
  }
}
