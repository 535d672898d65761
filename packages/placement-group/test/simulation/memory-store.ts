/**
 * A reference object store of one collection in memory: transactions apply at once and become durable later, in order; a
 * power loss keeps some prefix of those that were not durable.
 */
import { ClusterError, compareBytes, hexDecode, hexEncode } from '@shoal/base'
import {
  type ExaminedCopy,
  type LoadRequest,
  type ObjectPiece,
  type ObjectState,
  type ScrubRange,
  scrubDamage,
} from '@shoal/placement-group'
import {
  compareObjectIds,
  type ObjectId,
  type ObjectOp,
  type ObjectOpResult,
  type OmapEntry,
  objectKey,
  type Transaction,
  type TransactionOp,
} from '@shoal/wire'

export interface StoredObject {
  readonly id: ObjectId
  data: Uint8Array
  xattrs: Map<string, Uint8Array>
  /** By key in hexadecimal, whose order is that of the keys. */
  omap: Map<string, Uint8Array>
  omapHeader: Uint8Array
  /** The bytes do not match their checksum. */
  bad: boolean
}

class Contents {
  exists = false
  readonly meta = new Map<string, Uint8Array>()
  readonly objects = new Map<string, StoredObject>()

  clone(): Contents {
    const copy = new Contents()
    copy.exists = this.exists
    for (const [key, value] of this.meta) copy.meta.set(key, value)
    for (const [key, object] of this.objects) copy.objects.set(key, cloneObject(object, object.id))
    return copy
  }

  apply(transaction: Transaction): void {
    for (const op of transaction.ops) this.applyOp(op)
  }

  private applyOp(op: TransactionOp): void {
    if (op.kind === 'create-collection') {
      if (this.exists) throw new Error('the collection exists')
      this.exists = true
      return
    }
    if (!this.exists) throw new Error(`${op.kind} without a collection`)
    switch (op.kind) {
      case 'remove-collection':
        if (this.objects.size > 0) throw new Error('the collection still has objects')
        this.exists = false
        this.meta.clear()
        return
      case 'meta-set':
        for (const { key, value } of op.entries) this.meta.set(hexEncode(key), value)
        return
      case 'meta-remove':
        for (const key of op.keys) this.meta.delete(hexEncode(key))
        return
      case 'meta-remove-range':
        removeRange(this.meta, op.from, op.to)
        return
      default:
        this.applyToObject(op)
    }
  }

  private writable(id: ObjectId): StoredObject {
    const key = objectKey(id)
    let object = this.objects.get(key)
    if (object === undefined) {
      object = {
        id,
        data: new Uint8Array(0),
        xattrs: new Map(),
        omap: new Map(),
        omapHeader: new Uint8Array(0),
        bad: false,
      }
      this.objects.set(key, object)
    }
    return object
  }

  private applyToObject(op: Extract<TransactionOp, { readonly object: ObjectId }>): void {
    if (op.kind === 'remove') {
      this.objects.delete(objectKey(op.object))
      return
    }
    const object = this.writable(op.object)
    switch (op.kind) {
      case 'touch':
        return
      case 'write': {
        const whole = op.offset === 0 && op.data.length >= object.data.length
        object.data = resized(object.data, Math.max(object.data.length, op.offset + op.data.length))
        object.data.set(op.data, op.offset)
        if (whole) object.bad = false
        return
      }
      case 'zero':
        object.data = resized(object.data, Math.max(object.data.length, op.offset + op.length))
        object.data.fill(0, op.offset, op.offset + op.length)
        return
      case 'truncate':
        object.data = resized(object.data, op.sizeBytes)
        if (op.sizeBytes === 0) object.bad = false
        return
      case 'set-xattrs':
        for (const [name, value] of op.xattrs) object.xattrs.set(name, value)
        return
      case 'remove-xattrs':
        for (const name of op.names) object.xattrs.delete(name)
        return
      case 'omap-set':
        for (const { key, value } of op.entries) object.omap.set(hexEncode(key), value)
        return
      case 'omap-remove':
        for (const key of op.keys) object.omap.delete(hexEncode(key))
        return
      case 'omap-remove-range':
        removeRange(object.omap, op.from, op.to)
        return
      case 'omap-clear':
        object.omap.clear()
        object.omapHeader = new Uint8Array(0)
        return
      case 'omap-set-header':
        object.omapHeader = op.header
        return
      case 'clone':
        this.objects.set(objectKey(op.to), cloneObject(object, op.to))
        return
      case 'rename':
        this.objects.delete(objectKey(op.object))
        this.objects.set(objectKey(op.to), cloneObject(object, op.to))
        return
    }
  }
}

export class MemoryStore {
  private durable = new Contents()
  private current = new Contents()
  private readonly pending: Transaction[] = []

  /** Applies; `commitNext` makes it durable. */
  submit(transaction: Transaction): void {
    this.current.apply(transaction)
    this.pending.push(transaction)
  }

  commitNext(): void {
    const transaction = this.pending.shift()
    if (transaction === undefined) throw new Error('nothing to commit')
    this.durable.apply(transaction)
  }

  /** Keeps the first `kept` of the transactions that were not durable. */
  loseAllBut(kept: number): number {
    const lost = Math.max(0, this.pending.length - kept)
    while (this.pending.length > lost) this.commitNext()
    this.pending.length = 0
    this.current = this.durable.clone()
    return lost
  }

  wipe(): void {
    this.pending.length = 0
    this.durable = new Contents()
    this.current = new Contents()
  }

  get hasCollection(): boolean {
    return this.current.exists
  }

  get unsynced(): number {
    return this.pending.length
  }

  metaEntries(from: Uint8Array, to: Uint8Array): readonly OmapEntry[] {
    const [low, high] = [hexEncode(from), hexEncode(to)]
    return [...this.current.meta.entries()]
      .filter(([key]) => key >= low && key < high)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => ({ key: hexDecode(key) as Uint8Array, value }))
  }

  /** Whether the record is on stable storage. */
  hasDurableMeta(key: Uint8Array): boolean {
    return this.durable.meta.has(hexEncode(key))
  }

  /** In the order of listings. */
  objects(): readonly StoredObject[] {
    return [...this.current.objects.values()].sort((a, b) => compareObjectIds(a.id, b.id))
  }

  find(id: ObjectId): StoredObject | undefined {
    return this.current.objects.get(objectKey(id))
  }

  /** Flips what is stored, here and on stable storage. */
  corrupt(id: ObjectId): void {
    for (const contents of [this.durable, this.current]) {
      const object = contents.objects.get(objectKey(id))
      if (object !== undefined && object.data.length > 0) object.bad = true
    }
  }

  load(request: LoadRequest): ObjectState {
    const object = this.find(request.object)
    if (object === undefined) {
      return {
        exists: false,
        sizeBytes: 0,
        xattrs: new Map(),
        omap: [],
        extents: request.extents.map(() => new Uint8Array(0)),
      }
    }
    return {
      exists: true,
      sizeBytes: object.data.length,
      xattrs: new Map(object.xattrs),
      omap: request.omapKeys.flatMap((key) => {
        const value = object.omap.get(hexEncode(key))
        return value === undefined ? [] : [{ key, value }]
      }),
      extents: request.extents.map(({ offset, length }) => readable(object).slice(offset, offset + length)),
    }
  }

  /** The read steps that the simulated clients use. */
  read(
    id: ObjectId,
    ops: readonly ObjectOp[],
    versionOf: (attribute: Uint8Array) => number,
  ): readonly ObjectOpResult[] {
    const object = this.find(id)
    return ops.map((op): ObjectOpResult => {
      if (object === undefined) throw new ClusterError('ENOENT', 'no such object')
      switch (op.kind) {
        case 'read':
          return { kind: 'data', data: readable(object).slice(op.offset, op.offset + op.length) }
        case 'stat':
          return {
            kind: 'stat',
            sizeBytes: object.data.length,
            modifiedMs: 0,
            version: versionOf(object.xattrs.get('_') as Uint8Array),
          }
        default:
          throw new Error(`${op.kind} is not simulated`)
      }
    })
  }

  piece(
    id: ObjectId,
    offset: number,
    lengthMax: number,
    omapAfter: Uint8Array | undefined,
    omapMax: number,
  ): ObjectPiece | undefined {
    const object = this.find(id)
    if (object === undefined) return undefined
    const nextOffset = Math.min(object.data.length, offset + lengthMax)
    const data = readable(object).slice(offset, nextOffset)
    const keys = [...object.omap.keys()].sort().filter((key) => omapAfter === undefined || key > hexEncode(omapAfter))
    return {
      sizeBytes: object.data.length,
      xattrs: new Map(object.xattrs),
      omapHeader: object.omapHeader,
      extents: data.length === 0 ? [] : [{ offset, data }],
      nextOffset,
      dataDone: nextOffset >= object.data.length,
      omap: keys.slice(0, omapMax).map((key) => ({
        key: hexDecode(key) as Uint8Array,
        value: object.omap.get(key) as Uint8Array,
      })),
      omapDone: keys.length <= omapMax,
    }
  }

  scan(
    after: ObjectId | undefined,
    limit: number,
  ): {
    readonly objects: readonly { readonly object: ObjectId; readonly attribute: Uint8Array | undefined }[]
    readonly more: boolean
  } {
    const rest = this.objects().filter(({ id }) => after === undefined || compareObjectIds(id, after) > 0)
    return {
      objects: rest.slice(0, limit).map(({ id, xattrs }) => ({ object: id, attribute: xattrs.get('_') })),
      more: rest.length > limit,
    }
  }

  /** What scrub would see. */
  examine({ after, until, objectsMax, deep }: ScrubRange): {
    readonly objects: readonly ExaminedCopy[]
    readonly through: ObjectId | undefined
  } {
    const inRange = this.objects().filter(
      ({ id }) =>
        (after === undefined || compareObjectIds(id, after) > 0) &&
        (until === undefined || compareObjectIds(id, until) <= 0),
    )
    const objects = inRange.slice(0, objectsMax).map(({ id, data, xattrs, omap, bad }): ExaminedCopy => {
      const attributes = [...xattrs]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, value]) => name + hexEncode(value))
      const entries = [...omap].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => key + hexEncode(value))
      return {
        object: id,
        attribute: xattrs.get('_'),
        sizeBytes: data.length,
        attributesDigest: digestOf(attributes.join()),
        omapDigest: deep ? digestOf(entries.join()) : 0,
        dataDigest: deep ? digestOf(hexEncode(data)) : 0,
        damage: deep && bad ? scrubDamage.data : 0,
      }
    })
    return { objects, through: inRange.length > objectsMax ? objects.at(-1)?.object : undefined }
  }

  /** One text per object, equal for equal copies. */
  fingerprint(): readonly string[] {
    return this.objects().map(({ id, data, xattrs, omap, omapHeader, bad }) => {
      const attributes = [...xattrs]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, value]) => `${name}=${hexEncode(value)}`)
      const entries = [...omap].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => `${key}=${hexEncode(value)}`)
      return `${objectKey(id)} ${hexEncode(data)} ${attributes} ${entries} ${hexEncode(omapHeader)}${bad ? ' BAD' : ''}`
    })
  }
}

function readable(object: StoredObject): Uint8Array {
  if (object.bad) throw new ClusterError('ECHECKSUM', 'a bad block')
  return object.data
}

function digestOf(text: string): number {
  let digest = 7
  for (let i = 0; i < text.length; i++) digest = (Math.imul(digest, 31) + text.charCodeAt(i)) >>> 0
  return digest
}

function cloneObject(object: StoredObject, id: ObjectId): StoredObject {
  return { ...object, id, data: object.data.slice(), xattrs: new Map(object.xattrs), omap: new Map(object.omap) }
}

function resized(data: Uint8Array, sizeBytes: number): Uint8Array {
  const result = new Uint8Array(sizeBytes)
  result.set(data.subarray(0, sizeBytes))
  return result
}

function removeRange(map: Map<string, Uint8Array>, from: Uint8Array, to: Uint8Array): void {
  if (compareBytes(from, to) >= 0) return
  const [low, high] = [hexEncode(from), hexEncode(to)]
  for (const key of [...map.keys()]) if (key >= low && key < high) map.delete(key)
}
