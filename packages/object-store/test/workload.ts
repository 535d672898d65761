/** Random transactions over few objects, so that they collide. */
import { type PgId, type PoolId, Prng } from '@shoal/base'
import { headSnap, type ObjectId, type OmapEntry, type Transaction, type TransactionOp } from '@shoal/wire'
import { text } from './reference-store.ts'

const collections = ['1.0', '1.1'] as PgId[]

export function objectId(name: string, snap: number = headSnap): ObjectId {
  let hash = 0
  for (let i = 0; i < name.length; i++) hash = (hash * 31 + name.charCodeAt(i)) >>> 0
  return { pool: 1 as PoolId, hash, namespace: name.length % 2 === 0 ? 'ns' : '', name, snap }
}

const names = ['a', 'bb', 'c\0c', 'ä', 'eeee']

export class Workload {
  private readonly prng: Prng
  private readonly sizeMax: number
  private readonly compressible: boolean

  /** `compressible`: most bytes repeat those before them. */
  constructor(seed: number, sizeMax: number, compressible: boolean = false) {
    this.prng = new Prng(seed)
    this.sizeMax = sizeMax
    this.compressible = compressible
  }

  static first(): Transaction {
    return { ops: collections.map((collection) => ({ kind: 'create-collection', collection })) }
  }

  next(): Transaction {
    const ops: TransactionOp[] = []
    const count = 1 + this.prng.below(4)
    const collection = this.pick(collections)
    for (let i = 0; i < count; i++) ops.push(this.op(this.prng.below(8) === 0 ? this.pick(collections) : collection))
    return { ops }
  }

  private op(collection: PgId): TransactionOp {
    const object = objectId(this.pick(names))
    const to = objectId(this.pick(names))
    const keys = [this.key(), this.key()].sort()
    const [from, end] = keys.map(text) as [Uint8Array, Uint8Array]
    switch (this.prng.below(20)) {
      case 0:
        return { kind: 'meta-set', collection, entries: this.entries() }
      case 1:
        return { kind: 'meta-remove', collection, keys: [from, end] }
      case 2:
        return { kind: 'meta-remove-range', collection, from, to: end }
      case 3:
        return { kind: 'zero', collection, object, offset: this.offset(), length: this.length() }
      case 4:
        return { kind: 'truncate', collection, object, sizeBytes: this.offset() }
      case 5:
        return { kind: 'remove', collection, object }
      case 6:
        return { kind: 'set-xattrs', collection, object, xattrs: new Map([[this.key(), this.bytes(9)]]) }
      case 7:
        return { kind: 'remove-xattrs', collection, object, names: keys }
      case 8:
      case 9:
        return { kind: 'omap-set', collection, object, entries: this.entries() }
      case 10:
        return { kind: 'omap-remove', collection, object, keys: [from] }
      case 11:
        return { kind: 'omap-remove-range', collection, object, from, to: end }
      case 12:
        if (this.prng.below(3) === 0) return { kind: 'omap-clear', collection, object }
        return { kind: 'omap-set-header', collection, object, header: this.bytes(5) }
      case 13:
        return { kind: 'clone', collection, object, to }
      case 14:
        return { kind: 'rename', collection, object, to }
      case 15:
        return { kind: 'touch', collection, object }
      default:
        return { kind: 'write', collection, object, offset: this.offset(), data: this.bytes(this.length()) }
    }
  }

  private pick<T>(choices: readonly T[]): T {
    return choices[this.prng.below(choices.length)] as T
  }

  private key(): string {
    return `k${this.prng.below(12)}`
  }

  private entries(): OmapEntry[] {
    return [1, 2].map(() => ({ key: text(this.key()), value: this.bytes(1 + this.prng.below(20)) }))
  }

  private offset(): number {
    const offset = this.prng.below(this.sizeMax)
    return this.prng.below(2) === 0 ? Math.floor(offset / 4096) * 4096 : offset
  }

  private length(): number {
    const choice = this.prng.below(4)
    if (choice === 0) return this.prng.below(300)
    if (choice === 1) return 4096 * (1 + this.prng.below(3))
    return choice === 2 ? this.prng.below(9000) : 4096 * (4 + this.prng.below(6))
  }

  private bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    let value = this.prng.uint32()
    for (let i = 0; i < length; i++) {
      value = (Math.imul(value, 1664525) + 1013904223) >>> 0
      bytes[i] = value >>> 24
      if (this.compressible && i > 64 && value % 16 !== 0 && bytes[0] !== 1) bytes[i] = bytes[i - 64] as number
    }
    return bytes
  }
}
