/**
 * An image and its copy, in two namespaces of a pool that stand for two clusters. Each client has a pair of its own, writes the
 * primary, and copies it with copiers that die in the middle of things; roles change, with and without force, and a copy that
 * went its own way is made anew. What each mirror snapshot shows is known exactly: readers of the copy, and who promotes it, must
 * find one of them, whole.
 */
import { ClusterError, isClusterError } from '@shoal/base'
import {
  demoteMirror,
  enableMirror,
  type Image,
  ImageStore,
  MirrorPool,
  mirrorImage,
  type ObjectIo,
  promoteMirror,
  type Quiescer,
  resyncMirror,
} from '@shoal/block'
import type { Violation, Workload, WorkloadContext } from '../history.ts'
import { inLanes, nextToken, outcomeOf, tokenBytes, weighted } from './record.ts'
import { timersOf } from './sectors.ts'

const objectBytes = 16 * 1024
const objects = 5
const imageBytes = objects * objectBytes
const stepsMax = 80
const pauseMsMax = 200
const name = 'disk'

/** Nobody has an image open for longer than one step. */
const nobodyWrites: Quiescer = {
  pause: async () => ({ everybody: true, guards: [], resume: async () => undefined }),
  changed: async () => undefined,
}

export function mirroredImages(): Workload {
  const violations: Violation[] = []
  let lives = 0
  return {
    name: 'mirrored-images',
    run: (context) => inLanes(context, 1, pauseMsMax, () => new Life(context, violations, lives++).run()),
    check: async () => violations,
  }
}

type Step = 'write' | 'discard' | 'snapshot' | 'forget' | 'sync' | 'die' | 'read' | 'blink' | 'hand-over' | 'take-over'

const steps: readonly (readonly [number, Step])[] = [
  [12, 'write'],
  [5, 'discard'],
  [6, 'snapshot'],
  [3, 'forget'],
  [5, 'sync'],
  [8, 'die'],
  [4, 'read'],
  [2, 'blink'],
  [1, 'hand-over'],
  [2, 'take-over'],
]

/** One of the two, as everybody sees it. */
interface Site {
  readonly io: ObjectIo
  readonly store: ImageStore
  /** For people's commands: it does not die. */
  readonly pool: MirrorPool
}

class Life {
  private readonly context: WorkloadContext
  private readonly violations: Violation[]
  private readonly label: string
  private primary: Site
  private copy: Site
  private globalId = ''
  /** What the primary holds. */
  private disk = new Uint8Array(imageBytes)
  /** What each mirror snapshot shows. */
  private readonly contents = new Map<string, Uint8Array>()
  private over = false

  constructor(context: WorkloadContext, violations: Violation[], life: number) {
    this.context = context
    this.violations = violations
    this.label = `pair-${context.process}-${life}`
    this.primary = this.site('a')
    this.copy = this.site('b')
  }

  private site(which: string): Site {
    const { client, pool } = this.context
    const io = client.pool(pool.name, `${this.label}-${which}`)
    return { io, store: new ImageStore(this.env(), io, nobodyWrites), pool: this.mirrorPool(io) }
  }

  private env(): ConstructorParameters<typeof ImageStore>[0] {
    const { random, nowMs } = this.context
    return { clock: { monotonicMs: nowMs, wallMs: nowMs }, random, timers: timersOf(this.context) }
  }

  private mirrorPool(io: ObjectIo): MirrorPool {
    return new MirrorPool(this.env(), io, nobodyWrites)
  }

  async run(): Promise<void> {
    const { random, stopped, sleep } = this.context
    await this.attempt('create', () => this.primary.store.create(name, imageBytes, objectBytes))
    const record = await this.attempt('enable', () => enableMirror(this.primary.pool, name, 0))
    this.globalId = record?.globalId ?? ''
    for (let step = 0; step < stepsMax && !this.over && !stopped(); step++) {
      await this.step(weighted(random, steps))
      await sleep(random.fraction() * pauseMsMax)
    }
  }

  private async step(step: Step): Promise<void> {
    switch (step) {
      case 'write':
      case 'discard':
        return this.change(step)
      case 'snapshot':
        await this.takeSnapshot()
        return
      case 'forget':
        return this.forgetSnapshot()
      case 'sync':
        return this.sync()
      case 'die':
        return this.dieWhileCopying()
      case 'read':
        return this.expectCopy()
      case 'blink':
        return this.blink()
      case 'hand-over':
        return this.handOver()
      case 'take-over':
        return this.takeOver()
    }
  }

  /** An object that only a snapshot has that goes again: no diff before or after it speaks of that object. */
  private async blink(): Promise<void> {
    const object = this.context.random.below(objects)
    await this.change('discard', object)
    await this.takeSnapshot()
    await this.sync()
    await this.change('write', object)
    await this.takeSnapshot()
    await this.dieWhileCopying()
    await this.forgetSnapshot()
    await this.change('discard', object)
    await this.takeSnapshot()
    await this.sync()
  }

  /** Of any object, or of the whole of one. */
  private async change(kind: 'write' | 'discard', wanted?: number): Promise<void> {
    const { random } = this.context
    const whole = wanted !== undefined || random.below(2) === 0
    const object = wanted ?? random.below(objects)
    const offset = object * objectBytes + (whole ? 0 : random.below(objectBytes))
    const length = whole ? objectBytes : 1 + random.below((object + 1) * objectBytes - offset)
    const data = kind === 'write' ? tokenBytes(nextToken(this.context), length) : new Uint8Array(length)
    await this.attempt(kind, async () => {
      const image = await this.primary.store.open(name)
      await (kind === 'write' ? image.write(offset, data) : image.discard(offset, length))
    })
    this.disk = this.disk.slice()
    this.disk.set(data, offset)
  }

  private async takeSnapshot(): Promise<string | undefined> {
    const { pool } = this.primary
    const snapshot = pool.newSnapshotName()
    this.contents.set(snapshot, this.disk)
    const taken = await this.attempt('snapshot', () => pool.store.snapshots.create(name, snapshot, 'mirror'))
    return taken === undefined ? undefined : snapshot
  }

  /** The primary's newest, though a copier may be on its way to it: never one that the copy has. */
  private async forgetSnapshot(): Promise<void> {
    const [here, there] = await this.sides()
    const newest = here?.snapshots.at(-1)?.name
    const has = [...(there?.snapshots ?? []).map((one) => one.name), there?.unpublished]
    // One stays: a copier that finds none takes its own, of which we know nothing.
    if (newest === undefined || there === undefined || has.includes(newest) || here?.snapshots.length === 1) return
    await this.attempt('forget', () => this.primary.pool.store.snapshots.remove(name, newest, 'mirror'))
  }

  private async sides(): Promise<readonly [Side, Side]> {
    const here = await this.attempt('look', async () => ({ side: await this.primary.pool.sideOf(this.globalId) }))
    const there = await this.attempt('look', async () => ({ side: await this.copy.pool.sideOf(this.globalId) }))
    return [here?.side, there?.side]
  }

  /** To the end: nothing stands in the way. The first snapshot may be the copier's own. */
  private async sync(): Promise<void> {
    if (this.contents.size === 0) await this.takeSnapshot()
    if (this.over) return
    const state = await this.attempt('sync', () => mirrorImage(this.copy.pool, this.primary.pool, this.globalId))
    if (state !== undefined && state !== 'synced') this.report(`is ${state}, not synced`, undefined)
    await this.expectCopy()
  }

  private async dieWhileCopying(): Promise<void> {
    if (this.contents.size === 0) return this.sync()
    const left = { operations: 5 + this.context.random.below(60) }
    const copier = this.mirrorPool(mortal(this.copy.io, left))
    await this.attempt('copy', () =>
      mirrorImage(copier, this.primary.pool, this.globalId).catch((error: unknown) => {
        if (!(isClusterError(error, 'ESHUTDOWN') && left.operations <= 0)) throw error
      }),
    )
  }

  /** Readers find a snapshot that is complete, or none yet. */
  private async expectCopy(): Promise<void> {
    const found = await this.attempt('read', async () => {
      const side = await this.copy.pool.sideOf(this.globalId)
      if (side === undefined || side.isPartial || side.snapshots.length === 0) return undefined
      const image = await this.copy.store.open(name)
      return { bytes: await bytesOf(image), snapshot: side.snapshots.at(-1)?.name ?? '' }
    })
    if (typeof found !== 'object') return
    this.expect(`its copy at ${found.snapshot}`, found.bytes, this.contents.get(found.snapshot))
  }

  /** With nothing lost. */
  private async handOver(): Promise<void> {
    await this.sync()
    await this.attempt('demote', () => demoteMirror(this.primary.pool, name))
    const [here] = await this.sides()
    const last = here?.snapshots.at(-1)?.name
    if (this.over || last === undefined) return
    this.contents.set(last, this.disk)
    await this.attempt('sync', () => mirrorImage(this.copy.pool, this.primary.pool, this.globalId))
    await this.attempt('promote', () => promoteMirror(this.copy.pool, name, here, false))
    await this.exchange(this.disk)
  }

  /** The primary is given up while somebody copies: what the copy has counts from then on. */
  private async takeOver(): Promise<void> {
    await this.dieWhileCopying()
    const [, there] = await this.sides()
    const last = there?.unpublished ?? there?.snapshots.at(-1)?.name
    if (this.over || last === undefined) return
    await this.attempt('promote', () => promoteMirror(this.copy.pool, name, undefined, true))
    await this.exchange(this.contents.get(last) ?? new Uint8Array())
    await this.attempt('demote', () => demoteMirror(this.copy.pool, name))
    await this.attempt('resync', () => resyncMirror(this.copy.pool, name))
  }

  /** The other one is the primary, and holds `disk`. */
  private async exchange(disk: Uint8Array): Promise<void> {
    if (this.over) return
    ;[this.primary, this.copy] = [this.copy, this.primary]
    this.disk = disk.slice()
    const bytes = await this.attempt('read', async () => bytesOf(await this.primary.store.open(name)))
    if (bytes !== undefined) this.expect('the one that was promoted', bytes, disk)
  }

  /** Undefined, and the end of this pair, when there was no answer, or one that says nothing about it. */
  private async attempt<T>(kind: string, run: () => Promise<T>): Promise<T | undefined> {
    if (this.over) return undefined
    const { history, nowMs, process } = this.context
    const event = history.begin(process, this.label, { kind }, nowMs())
    try {
      const value = await run()
      history.end(event, { kind: 'ok', value: undefined }, nowMs())
      return value
    } catch (error) {
      const outcome = outcomeOf(error)
      history.end(event, outcome, nowMs())
      this.over = true
      if (outcome.kind === 'failed' && impossible.has(outcome.code)) this.report(`${kind}: ${String(error)}`, outcome)
      return undefined
    }
  }

  private expect(what: string, bytes: Uint8Array, expected: Uint8Array | undefined): void {
    if (expected !== undefined && Buffer.compare(bytes, expected) === 0) return
    const at = bytes.findIndex((byte, i) => byte !== expected?.[i])
    this.report(`${what} has ${bytes[at]} instead of ${expected?.[at]} at ${at}`, undefined)
    this.over = true
  }

  private report(message: string, details: unknown): void {
    this.violations.push({
      checker: 'mirrored-images',
      object: this.label,
      message: `${this.label}: ${message}`,
      details,
    })
  }
}

type Side = Awaited<ReturnType<MirrorPool['sideOf']>>

/** Codes that say something of the images, which are this client's alone. */
const impossible: ReadonlySet<string> = new Set(['ENOENT', 'EEXIST', 'EINVAL', 'EBADMSG', 'EROFS', 'ESTALE', 'EAGAIN'])

/** Whoever uses it dies after so many operations; what is under way may still happen. */
function mortal(io: ObjectIo, left: { operations: number }): ObjectIo {
  const alive = <T>(run: () => Promise<T>): Promise<T> =>
    left.operations-- > 0 ? run() : Promise.reject(new ClusterError('ESHUTDOWN', 'died'))
  const create = io.createSelfManagedSnapshot?.bind(io)
  const remove = io.removeSelfManagedSnapshot?.bind(io)
  return {
    execute: (object, ops, options) => alive(() => io.execute(object, ops, options)),
    ...(create === undefined ? {} : { createSelfManagedSnapshot: () => alive(create) }),
    ...(remove === undefined ? {} : { removeSelfManagedSnapshot: (snap: number) => alive(() => remove(snap)) }),
  }
}

async function bytesOf(image: Image): Promise<Uint8Array> {
  const bytes = new Uint8Array(image.sizeBytes)
  let at = 0
  for (const piece of await image.read(0, bytes.length)) {
    if (piece.kind === 'data') bytes.set(piece.data, at)
    at += piece.kind === 'data' ? piece.data.length : piece.length
  }
  return bytes
}
