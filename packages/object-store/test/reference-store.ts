/** What an object store means, in the simplest code: the model that the real one is compared with. */
import { ClusterError, compareBytes, emptyBytes, hexEncode, type PgId, utf8Encode } from '@shoal/base'
import {
  compareObjectIds,
  type ObjectId,
  type OmapEntry,
  objectKey,
  type Transaction,
  type TransactionOp,
} from '@shoal/wire'
import type {
  CountObject,
  Extent,
  MovedObjects,
  ObjectPage,
  ObjectStat,
  ObjectStore,
  OmapPage,
  StoreUsage,
} from '../src/object-store.ts'

export const countObject: CountObject = (_, { sizeBytes }) => ({ objects: 1, bytes: sizeBytes })

type Table = Map<string, OmapEntry>

interface ReferenceObject {
  id: ObjectId
  data: Uint8Array
  xattrs: Map<string, Uint8Array>
  omap: Table
  header: Uint8Array
}

interface ReferenceCollection {
  readonly meta: Table
  readonly objects: Map<string, ReferenceObject>
}

export class ReferenceStore implements ObjectStore {
  readonly transactionBytesMax: number = Number.POSITIVE_INFINITY
  private state = new Map<PgId, ReferenceCollection>()

  async submit(transaction: Transaction): Promise<void> {
    const before = copyState(this.state)
    try {
      for (const op of transaction.ops) this.apply(op)
    } catch (error) {
      this.state = before
      throw error
    }
  }

  async flush(): Promise<void> {}
  async close(): Promise<void> {}

  collections(): readonly PgId[] {
    return [...this.state.keys()].sort()
  }

  hasCollection(collection: PgId): boolean {
    return this.state.has(collection)
  }

  async metaEntries(collection: PgId, from: Uint8Array, to: Uint8Array, limit: number): Promise<OmapPage> {
    const inRange = (entry: OmapEntry) => compareBytes(entry.key, from) >= 0 && compareBytes(entry.key, to) < 0
    return page(sorted(this.get(collection).meta).filter(inRange), limit)
  }

  async metaGet(collection: PgId, key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.get(collection).meta.get(hexEncode(key))?.value
  }

  async stat(collection: PgId, object: ObjectId): Promise<ObjectStat | undefined> {
    const found = this.get(collection).objects.get(objectKey(object))
    return found === undefined ? undefined : { sizeBytes: found.data.length, allocatedBytes: 0 }
  }

  async read(collection: PgId, object: ObjectId, offset: number, length: number): Promise<Uint8Array> {
    return this.object(collection, object).data.slice(offset, offset + length)
  }

  async extents(): Promise<readonly Extent[]> {
    return []
  }

  async xattrs(collection: PgId, object: ObjectId): Promise<ReadonlyMap<string, Uint8Array>> {
    return this.object(collection, object).xattrs
  }

  async omapHeader(collection: PgId, object: ObjectId): Promise<Uint8Array> {
    return this.object(collection, object).header
  }

  async omapGet(collection: PgId, object: ObjectId, keys: readonly Uint8Array[]): Promise<readonly OmapEntry[]> {
    const { omap } = this.object(collection, object)
    return keys.flatMap((key) => omap.get(hexEncode(key)) ?? [])
  }

  async omapEntries(
    collection: PgId,
    object: ObjectId,
    options: { readonly after: Uint8Array | undefined; readonly prefix: Uint8Array; readonly limit: number },
  ): Promise<OmapPage> {
    const { after, prefix, limit } = options
    const wanted = (entry: OmapEntry) =>
      (after === undefined || compareBytes(entry.key, after) > 0) &&
      compareBytes(entry.key.subarray(0, prefix.length), prefix) === 0
    return page(sorted(this.object(collection, object).omap).filter(wanted), limit)
  }

  async list(collection: PgId, after: ObjectId | undefined, limit: number): Promise<ObjectPage> {
    const ids = [...this.get(collection).objects.values()].map((object) => object.id).sort(compareObjectIds)
    const rest = after === undefined ? ids : ids.filter((id) => compareObjectIds(id, after) > 0)
    return { objects: rest.slice(0, limit), more: rest.length > limit }
  }

  async moveObjects(
    from: PgId,
    targets: readonly PgId[],
    choose: (object: ObjectId) => number,
    count: CountObject,
  ): Promise<readonly MovedObjects[]> {
    const counts = [...targets, from].map(() => ({ objects: 0, bytes: 0 }))
    for (const [key, object] of [...this.get(from).objects]) {
      const index = choose(object.id)
      const total = counts.at(index) as { objects: number; bytes: number }
      const { objects, bytes } = count(object.id, { sizeBytes: object.data.length, xattrs: object.xattrs })
      total.objects += objects
      total.bytes += bytes
      if (index < 0) continue
      this.get(from).objects.delete(key)
      this.get(targets[index] as PgId).objects.set(key, object)
    }
    return counts
  }

  usage(): StoreUsage {
    return { totalBytes: 0, usedBytes: 0, freeBytes: 0, metadataBytes: 0 }
  }

  private get(id: PgId): ReferenceCollection {
    const collection = this.state.get(id)
    if (collection === undefined) throw new ClusterError('EINVAL', `no collection ${id}`)
    return collection
  }

  private object(id: PgId, object: ObjectId): ReferenceObject {
    const found = this.get(id).objects.get(objectKey(object))
    if (found === undefined) throw new ClusterError('ENOENT', 'no such object')
    return found
  }

  private apply(op: TransactionOp): void {
    if (op.kind === 'create-collection') {
      if (this.state.has(op.collection)) throw new ClusterError('EINVAL', 'exists')
      this.state.set(op.collection, { meta: new Map(), objects: new Map() })
      return
    }
    const { meta, objects } = this.get(op.collection)
    switch (op.kind) {
      case 'remove-collection':
        if (objects.size > 0) throw new ClusterError('EINVAL', 'not empty')
        this.state.delete(op.collection)
        return
      case 'meta-set':
        return setAll(meta, op.entries)
      case 'meta-remove':
        for (const key of op.keys) meta.delete(hexEncode(key))
        return
      case 'meta-remove-range':
        return removeRange(meta, op.from, op.to)
    }
    this.applyToObject(objects, op)
  }

  private applyToObject(objects: Map<string, ReferenceObject>, op: Extract<TransactionOp, { object: ObjectId }>): void {
    const key = objectKey(op.object)
    const there = objects.get(key)
    const make = (): ReferenceObject => {
      const object = there ?? {
        id: op.object,
        data: emptyBytes,
        xattrs: new Map(),
        omap: new Map(),
        header: emptyBytes,
      }
      objects.set(key, object)
      return object
    }
    switch (op.kind) {
      case 'touch':
        make()
        return
      case 'write': {
        const object = make()
        if (op.data.length === 0) return
        object.data = resized(object.data, Math.max(object.data.length, op.offset + op.data.length))
        object.data.set(op.data, op.offset)
        return
      }
      case 'zero': {
        const object = make()
        if (op.length === 0) return
        object.data = resized(object.data, Math.max(object.data.length, op.offset + op.length))
        object.data.fill(0, op.offset, op.offset + op.length)
        return
      }
      case 'truncate': {
        const object = make()
        object.data = resized(object.data, op.sizeBytes)
        return
      }
      case 'remove':
        objects.delete(key)
        return
      case 'set-xattrs': {
        const object = make()
        object.xattrs = new Map([...object.xattrs, ...op.xattrs])
        return
      }
      case 'remove-xattrs':
        if (there !== undefined) there.xattrs = new Map([...there.xattrs].filter(([name]) => !op.names.includes(name)))
        return
      case 'omap-set':
        return setAll(make().omap, op.entries)
      case 'omap-remove':
        for (const name of op.keys) there?.omap.delete(hexEncode(name))
        return
      case 'omap-remove-range':
        if (there !== undefined) removeRange(there.omap, op.from, op.to)
        return
      case 'omap-clear':
        there?.omap.clear()
        if (there !== undefined) there.header = emptyBytes
        return
      case 'omap-set-header':
        make().header = op.header
        return
      case 'clone':
      case 'rename': {
        if (there === undefined) throw new ClusterError('EINVAL', 'no source')
        if (objectKey(op.to) === key) return
        objects.set(objectKey(op.to), { ...copyObject(there), id: op.to })
        if (op.kind === 'rename') objects.delete(key)
      }
    }
  }
}

function setAll(table: Table, entries: readonly OmapEntry[]): void {
  for (const entry of entries) table.set(hexEncode(entry.key), entry)
}

function removeRange(table: Table, from: Uint8Array, to: Uint8Array): void {
  for (const [name, { key }] of [...table]) {
    if (compareBytes(key, from) >= 0 && compareBytes(key, to) < 0) table.delete(name)
  }
}

const sorted = (table: Table): OmapEntry[] => [...table.values()].sort((a, b) => compareBytes(a.key, b.key))
const page = (entries: readonly OmapEntry[], limit: number): OmapPage => ({
  entries: entries.slice(0, limit),
  more: entries.length > limit,
})

function resized(data: Uint8Array, sizeBytes: number): Uint8Array {
  const next = new Uint8Array(sizeBytes)
  next.set(data.subarray(0, sizeBytes))
  return next
}

function copyObject(object: ReferenceObject): ReferenceObject {
  return { ...object, data: object.data.slice(), xattrs: new Map(object.xattrs), omap: new Map(object.omap) }
}

function copyState(state: ReadonlyMap<PgId, ReferenceCollection>): Map<PgId, ReferenceCollection> {
  const copy = new Map<PgId, ReferenceCollection>()
  for (const [id, { meta, objects }] of state) {
    const objectsCopy = new Map([...objects].map(([key, object]) => [key, copyObject(object)] as const))
    copy.set(id, { meta: new Map(meta), objects: objectsCopy })
  }
  return copy
}

const lowest = new Uint8Array(0)
const highest = new Uint8Array(32).fill(0xff)

/** Everything that a store shows, as text. */
export async function dump(store: ObjectStore): Promise<string> {
  const lines: string[] = []
  for (const collection of store.collections()) {
    lines.push(`collection ${collection}`)
    for (const { key, value } of (await store.metaEntries(collection, lowest, highest, 10_000)).entries) {
      lines.push(` meta ${hexEncode(key)}=${hexEncode(value)}`)
    }
    let after: ObjectId | undefined
    for (;;) {
      const found = await store.list(collection, after, 7)
      for (const id of found.objects) {
        after = id
        const stat = await store.stat(collection, id)
        const data = await store.read(collection, id, 0, 1 << 24)
        if (stat?.sizeBytes !== data.length) lines.push('SIZE DIFFERS')
        lines.push(` object ${id.namespace}/${id.name}@${id.snap} ${data.length} ${digest(data)}`)
        const xattrs = [...(await store.xattrs(collection, id))].sort(([a], [b]) => (a < b ? -1 : 1))
        for (const [name, value] of xattrs) lines.push(`  xattr ${name}=${hexEncode(value)}`)
        lines.push(`  header ${hexEncode(await store.omapHeader(collection, id))}`)
        const omap = await store.omapEntries(collection, id, { after: undefined, prefix: lowest, limit: 10_000 })
        for (const { key, value } of omap.entries) lines.push(`  omap ${hexEncode(key)}=${hexEncode(value)}`)
      }
      if (!found.more) break
    }
  }
  return lines.join('\n')
}

function digest(data: Uint8Array): string {
  let a = 1
  let b = 0
  for (const byte of data) {
    a = (a + byte) % 65521
    b = (b + a) % 65521
  }
  return `${a}.${b}`
}

export const text = (value: string): Uint8Array => utf8Encode(value)
