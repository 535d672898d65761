/**
 * A pool in memory: compound operations on one object, each of them whole or not at all, a crash at any of them, and
 * snapshots as in docs/mechanisms/snapshots.md.
 */
import { ClusterError, compareBytes, emptyBytes, hexEncode } from '@shoal/base'
import type { ObjectIo, ObjectIoOptions } from '@shoal/block'
import { isWriteOp, type ObjectOp, type ObjectOpResult } from '@shoal/wire'
import { copyOf, type MemoryObject, resized } from './memory-object.ts'
import { MemorySnapshots } from './memory-snapshots.ts'

type VersionOp = Extract<ObjectOp, { kind: 'stat' | 'assert-version' }>

const none: ObjectOpResult = { kind: 'none' }

export class MemoryObjects implements ObjectIo {
  readonly objects = new Map<string, MemoryObject>()
  readonly snapshots = new MemorySnapshots()
  /** Of the last write to each object. */
  private readonly versions = new Map<string, number>()
  /** The pools of the cluster by their ids, if there are others. */
  private readonly pools: ReadonlyMap<number, ObjectIo>
  private readonly id: number
  /** Operations that changed something. */
  mutations = 0
  /** The client dies before the mutation with this number; nothing it asks for happens any more. */
  crashAt: number = Number.POSITIVE_INFINITY
  /** Called before each operation; may wait, or fail. */
  before: (name: string, ops: readonly ObjectOp[], options: ObjectIoOptions) => Promise<void> = async () => undefined
  inFlight = 0
  inFlightMax = 0

  constructor(id = 1, pools: ReadonlyMap<number, ObjectIo> = new Map()) {
    this.id = id
    this.pools = pools
  }

  async poolId(): Promise<number> {
    return this.id
  }

  inPool(id: number): ObjectIo {
    const pool = id === this.id ? this : this.pools.get(id)
    if (pool === undefined) throw new ClusterError('EOPNOTSUPP', `pool #${id} cannot be reached`)
    return pool
  }

  async execute(
    name: string,
    ops: readonly ObjectOp[],
    options: ObjectIoOptions = {},
  ): Promise<{ readonly results: readonly ObjectOpResult[] }> {
    this.inFlightMax = Math.max(this.inFlightMax, ++this.inFlight)
    try {
      await this.before(name, ops, options)
      return { results: this.apply(name, ops, options) }
    } finally {
      this.inFlight--
    }
  }

  async createSelfManagedSnapshot(): Promise<number> {
    this.mutate()
    return this.snapshots.create()
  }

  async removeSelfManagedSnapshot(snap: number): Promise<void> {
    this.mutate()
    this.snapshots.remove(snap)
  }

  private mutate(): void {
    if (this.mutations >= this.crashAt) throw new ClusterError('ESHUTDOWN', 'crashed')
    if (++this.mutations === this.crashAt) throw new ClusterError('ESHUTDOWN', 'crashed')
  }

  private apply(
    name: string,
    ops: readonly ObjectOp[],
    { snap, snapContext }: ObjectIoOptions,
  ): readonly ObjectOpResult[] {
    if (this.mutations >= this.crashAt) throw new ClusterError('ESHUTDOWN', 'crashed')
    const writes = ops.some(isWriteOp)
    if (writes && this.mutations + 1 === this.crashAt) {
      this.mutations++
      throw new ClusterError('ESHUTDOWN', 'crashed')
    }
    if (writes && snap !== undefined) throw new ClusterError('EROFS', 'nothing is written at a snapshot')
    const head = this.objects.get(name)
    const present = snap === undefined ? head : this.snapshots.at(name, head, snap)
    let object = present === undefined ? undefined : copyOf(present)
    const results = ops.map((op) => {
      if (op.kind === 'list-snaps') return { kind: 'snaps' as const, snaps: this.snapshots.list(name, head) }
      if (op.kind === 'rollback') {
        const target = this.snapshots.at(name, head, op.snap)
        if (head === undefined && target === undefined) throw new ClusterError('ENOENT', 'no such object')
        object = target === undefined ? undefined : copyOf(target)
        return none
      }
      if (op.kind === 'stat' || op.kind === 'assert-version') return this.versionStep(name, op, present)
      const [next, result] = step(object, op, present !== undefined)
      object = next
      return result
    })
    if (!writes) return results
    this.mutations++
    this.versions.set(name, (this.versions.get(name) ?? 0) + 1)
    this.snapshots.beforeWrite(name, head, snapContext)
    this.snapshots.afterWrite(name, ops, object)
    if (object === undefined) this.objects.delete(name)
    else this.objects.set(name, object)
    return results
  }

  private versionStep(name: string, op: VersionOp, present: MemoryObject | undefined): ObjectOpResult {
    if (present === undefined) throw new ClusterError('ENOENT', 'no such object')
    const version = this.versions.get(name) ?? 0
    if (op.kind === 'stat') return { kind: 'stat', sizeBytes: present.bytes.length, modifiedMs: 0, version }
    if (op.version !== version) throw new ClusterError('ERANGE', 'another version')
    return none
  }
}

type Step = readonly [object: MemoryObject | undefined, result: ObjectOpResult]

function step(object: MemoryObject | undefined, op: ObjectOp, existed: boolean): Step {
  switch (op.kind) {
    case 'create':
      if (op.exclusive && existed) throw new ClusterError('EEXIST', 'exists')
      return [object ?? fresh(), none]
    case 'compare-omap': {
      const value = object?.omap.get(hexEncode(op.key))?.value ?? emptyBytes
      if (compareBytes(value, op.value) !== 0) throw new ClusterError('ECANCELED', 'differs')
      return [object, none]
    }
    case 'omap-set': {
      const changed = object ?? fresh()
      for (const entry of op.entries) changed.omap.set(hexEncode(entry.key), entry)
      return [changed, none]
    }
    case 'write': {
      const changed = object ?? fresh()
      const end = op.offset + op.data.length
      if (end > changed.bytes.length) resized(changed, end)
      changed.bytes.set(op.data, op.offset)
      changed.allocated.fill(1, op.offset, end)
      return [changed, none]
    }
    default:
      if (object === undefined) throw new ClusterError('ENOENT', 'no such object')
      return stepOnExisting(object, op)
  }
}

function fresh(): MemoryObject {
  return { bytes: emptyBytes, allocated: emptyBytes, omap: new Map() }
}

function stepOnExisting(object: MemoryObject, op: ObjectOp): Step {
  switch (op.kind) {
    case 'assert-exists':
      return [object, none]
    case 'remove':
      return [undefined, none]
    case 'truncate':
      resized(object, op.sizeBytes)
      return [object, none]
    case 'zero':
      object.bytes.fill(0, op.offset, op.offset + op.length)
      object.allocated.fill(0, op.offset, op.offset + op.length)
      return [object, none]
    case 'omap-remove':
      for (const key of op.keys) object.omap.delete(hexEncode(key))
      return [object, none]
    case 'read':
      return [object, { kind: 'data', data: object.bytes.slice(op.offset, op.offset + op.length) }]
    case 'map-extents':
      return [object, { kind: 'extents', extents: extentsOf(object, op.offset, op.length), data: emptyBytes }]
    case 'omap-get-keys': {
      const found = op.keys.map((key) => object.omap.get(hexEncode(key))).filter((entry) => entry !== undefined)
      return [object, { kind: 'omap', entries: found, more: false }]
    }
    case 'omap-get-range': {
      const prefix = hexEncode(op.prefix)
      const after = op.after === undefined ? '' : hexEncode(op.after)
      const keys = [...object.omap.keys()].filter((key) => key.startsWith(prefix) && key > after).sort()
      const entries = keys
        .slice(0, op.limit)
        .map((key) => object.omap.get(key) as { key: Uint8Array; value: Uint8Array })
      return [object, { kind: 'omap', entries, more: keys.length > op.limit }]
    }
    default:
      throw new ClusterError('EOPNOTSUPP', op.kind)
  }
}

function extentsOf(object: MemoryObject, offset: number, length: number): { offset: number; length: number }[] {
  const extents: { offset: number; length: number }[] = []
  for (let at = offset; at < Math.min(offset + length, object.bytes.length); at++) {
    if (object.allocated[at] !== 1) continue
    const last = extents.at(-1)
    if (last !== undefined && last.offset + last.length === at) last.length++
    else extents.push({ offset: at, length: 1 })
  }
  return extents
}
