/**
 * A pool of plain objects behind a network that takes its time, loses answers and breaks no promise, unless it is told to:
 * what workloads and their checks are tried on. Virtual time.
 */
import { assert, ClusterError, type ErrorCode, Prng } from '@shoal/base'
import type { ClusterClient, PoolHandle } from '@shoal/client'
import type { CommandReply, MonitorCommand } from '@shoal/monitor-client'
import { SimTime } from '@shoal/testkit'
import { isWriteOp, type ObjectOp } from '@shoal/wire'
import type { ObjectAnswer } from '../../src/checkers/object-model.ts'
import type { FinalReader, HistoryOutcome, Violation, Workload, WorkloadContext } from '../../src/index.ts'
import { History } from '../../src/index.ts'
import { copyOf, PlainObject } from './plain-object.ts'

/** One broken promise of each kind that a checker must notice. */
const anomalies = [
  'stale read',
  'lost update',
  'applied twice',
  'torn compound',
  'reappearing write',
  'guard ignored',
  'failed but applied',
  'misplaced bytes',
  'quota ignored',
  'forgotten by listings',
] as const
export type Anomaly = (typeof anomalies)[number]

interface Fakes {
  readonly anomaly?: Anomaly
  readonly unknownPercent?: number
}

export class FakeCluster {
  readonly time: SimTime = new SimTime()
  readonly history: History = new History()
  readonly random: Prng
  /** How often the anomaly came to pass. */
  spoiled = 0
  private readonly quota = { bytes: Number.POSITIVE_INFINITY, objects: Number.POSITIVE_INFINITY }
  private readonly fakes: Fakes
  private pools = new Map<string, Map<string, PlainObject>>()
  private readonly old = new Map<string, PlainObject['contents']>()
  private readonly applications = new Set<string>()
  private stopping = false

  constructor(seed: number, fakes: Fakes = {}) {
    this.random = new Prng(seed)
    this.fakes = fakes
    this.pools.set('pool', new Map())
  }

  async run(workload: Workload, clients: number, virtualMs: number): Promise<readonly Violation[]> {
    const runs = Array.from({ length: clients }, (_, process) => workload.run(this.context(process)))
    await this.time.advance(virtualMs)
    this.stopping = true
    await this.time.settle(Promise.all(runs))
    return this.time.settle(workload.check(this.history, this.final()))
  }

  private context(process: number): WorkloadContext {
    const random = this.random.fork()
    return {
      client: { pool: (name: string) => this.handle(name) } as unknown as ClusterClient,
      pool: this.handle('pool'),
      random,
      nowMs: () => this.time.nowMs,
      sleep: (ms) => this.pause(ms),
      stopped: () => this.stopping,
      process,
      history: this.history,
      command: (request) => this.command(request),
    }
  }

  private async command(request: MonitorCommand): Promise<CommandReply> {
    await this.pause(5 + 20 * this.random.fraction())
    const name = String(request['pool'])
    if (request.prefix.startsWith('osd pool application') || request.prefix === 'osd pool get') {
      return this.applicationCommand(request)
    }
    if (request.prefix === 'osd pool set-quota') {
      this.quota[request['field'] === 'max_bytes' ? 'bytes' : 'objects'] = Number(request['val'])
    }
    if (request.prefix === 'osd pool create' && !this.pools.has(name)) this.pools.set(name, new Map())
    // A pool that is made again with what it held before.
    if (request.prefix === 'osd pool rm' && !this.happens('reappearing write', 3)) this.pools.delete(name)
    return { status: 'done', data: undefined }
  }

  private async applicationCommand(request: MonitorCommand): Promise<CommandReply> {
    const old = [...this.applications].slice(0, -1)
    const item = String(request['app'])
    const changes = request.prefix !== 'osd pool get'
    if (changes && !this.happens('lost update', 20)) {
      if (request.prefix.endsWith('enable')) this.applications.add(item)
      else this.applications.delete(item)
    }
    const shown = !changes && this.happens('stale read', 10) ? old : [...this.applications]
    await this.pause(20 * this.random.fraction())
    return { status: 'done', data: changes ? undefined : { application: shown.join(',') } }
  }

  private handle(name: string): PoolHandle {
    /** One client's operations on one object take effect in the order of its calls. */
    const before = new Map<string, Promise<void>>()
    return {
      name,
      execute: (object: string, ops: readonly ObjectOp[]) => {
        const earlier = before.get(object)
        const turn = this.pause(20 * this.random.fraction()).then(() => earlier)
        before.set(object, turn)
        return this.execute(name, object, ops, turn)
      },
      list: () => this.list(name),
    } as unknown as PoolHandle
  }

  private async *list(pool: string): AsyncGenerator<string> {
    await this.pause(10)
    for (const [object, { contents }] of this.pools.get(pool) ?? []) {
      if (contents.exists && !this.happens('forgotten by listings', 400)) yield object
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.time.timers.after(ms, resolve))
  }

  private async execute(
    pool: string,
    name: string,
    ops: readonly ObjectOp[],
    turn: Promise<void>,
  ): Promise<ObjectAnswer> {
    const objects = this.pools.get(pool)
    if (objects === undefined) throw new ClusterError('ENOENT', 'no such pool')
    await turn
    if (this.random.below(100) < (this.fakes.unknownPercent ?? 3)) return this.withoutAnswer(objects, name, ops)
    const outcome = this.apply(objects, name, ops)
    await this.pause(20 * this.random.fraction())
    if (outcome.kind === 'ok') return outcome.value as ObjectAnswer
    assert(outcome.kind === 'failed', 'plain objects know what they do')
    throw new ClusterError(outcome.code as ErrorCode, 'refused')
  }

  private async withoutAnswer(
    objects: Map<string, PlainObject>,
    name: string,
    ops: readonly ObjectOp[],
  ): Promise<never> {
    const delayMs = 2_000 * this.random.fraction()
    if (this.random.below(3) > 0)
      this.time.timers.after(delayMs, () => this.applyWithinQuota(objects, this.objectOf(objects, name), ops))
    await this.pause(100)
    throw new ClusterError('ETIMEDOUT', 'no answer', { outcome: 'unknown' })
  }

  private objectOf(objects: Map<string, PlainObject>, name: string): PlainObject {
    let object = objects.get(name)
    if (object === undefined) {
      object = new PlainObject()
      objects.set(name, object)
    }
    return object
  }

  private happens(anomaly: Anomaly, oneIn: number): boolean {
    if (this.fakes.anomaly !== anomaly || this.random.below(oneIn) > 0) return false
    this.spoiled++
    return true
  }

  private apply(objects: Map<string, PlainObject>, name: string, ops: readonly ObjectOp[]): HistoryOutcome {
    const object = this.objectOf(objects, name)
    const before = copyOf(object.contents)
    if (!ops.some(isWriteOp)) return this.look(object, name, ops)
    if (this.random.below(30) === 0) this.old.set(name, before)
    const outcome = this.applyWithinQuota(objects, object, this.bent(ops))
    if (outcome.kind === 'failed' && this.happens('failed but applied', 10)) {
      object.apply(ops.filter(isWriteOp).filter(({ kind }) => kind !== 'remove'))
    }
    if (outcome.kind === 'ok') this.spoil(object, name, before, ops)
    return outcome
  }

  private applyWithinQuota(
    objects: Map<string, PlainObject>,
    object: PlainObject,
    ops: readonly ObjectOp[],
  ): HistoryOutcome {
    const before = copyOf(object.contents)
    const outcome = object.apply(ops)
    if (outcome.kind !== 'ok' || this.fits(objects) || this.happens('quota ignored', 1)) return outcome
    const { contents } = object
    const grew = contents.data.length > before.data.length || (contents.exists && !before.exists)
    if (!grew) return outcome
    object.contents = before
    return { kind: 'failed', code: 'EDQUOT' }
  }

  private fits(objects: Map<string, PlainObject>): boolean {
    const { quota } = this
    if (quota.bytes === Number.POSITIVE_INFINITY) return true
    const all = [...objects.values()].map(({ contents }) => contents).filter(({ exists }) => exists)
    return all.length <= quota.objects && all.reduce((sum, { data }) => sum + data.length, 0) <= quota.bytes
  }

  private look(object: PlainObject, name: string, ops: readonly ObjectOp[]): HistoryOutcome {
    const present = object.contents
    const old = this.old.get(name)
    if (old === undefined || old.version === present.version || !this.happens('stale read', 10))
      return object.apply(ops)
    object.contents = old
    const outcome = object.apply(ops)
    object.contents = present
    return outcome
  }

  private bent(ops: readonly ObjectOp[]): readonly ObjectOp[] {
    const isGuard = ({ kind }: ObjectOp): boolean => kind.startsWith('compare-') || kind === 'assert-version'
    if (ops.some(isGuard) && this.happens('guard ignored', 4)) return ops.filter((op) => !isGuard(op))
    if (ops.some(({ kind }) => kind === 'write') && this.happens('misplaced bytes', 30)) {
      return ops.map((op) => (op.kind === 'write' ? { ...op, offset: op.offset + 512 } : op))
    }
    return ops
  }

  private spoil(object: PlainObject, name: string, before: PlainObject['contents'], ops: readonly ObjectOp[]): void {
    const { version } = object.contents
    const writes = ops.filter(isWriteOp)
    if (this.happens('lost update', 40)) object.contents = { ...before, version }
    else if (this.happens('applied twice', 40)) object.apply(writes.filter(({ kind }) => kind !== 'create'))
    else if (writes.length > 1 && this.happens('torn compound', 10)) {
      object.contents = copyOf(before)
      object.apply(writes.slice(0, 1))
      object.contents.version = version
    } else {
      const old = this.old.get(name)
      if (old === undefined || !this.happens('reappearing write', 10)) return
      const next = { ...copyOf(old), version: object.contents.version }
      this.time.timers.after(50, () => {
        object.contents = next
      })
    }
  }

  private final(): FinalReader {
    return {
      read: async (pool, name) => {
        const found = this.pools.get(pool)?.get(name)?.contents
        if (found?.exists !== true) return undefined
        const { data, xattrs, omap, header, version } = found
        const entries = [...omap].sort(([a], [b]) => (a < b ? -1 : 1))
        return {
          data,
          xattrs,
          omapHeader: header,
          omap: entries.map(([key, value]) => ({ key: new Uint8Array(Buffer.from(key, 'latin1')), value })),
          version,
        }
      },
      list: async (pool) => {
        const objects = this.pools.get(pool)
        return objects && [...objects].filter(([, { contents }]) => contents.exists).map(([name]) => name)
      },
      replicas: async () => [],
    }
  }
}
