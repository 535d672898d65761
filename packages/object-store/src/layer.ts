/**
 * What a collection has changed since a checkpoint: newer values, removals and hidden ranges over an older state.
 *
 * A lookup goes through the active layer, the frozen one (while a checkpoint writes it out) and `level`, and ends at
 * the first that knows the key. `null` says "absent", undefined says "look below".
 */
import type { Key } from './layout.ts'
import type { Onode, Shard } from './onode.ts'
import { RangeSet } from './range-set.ts'
import { SortedKeys } from './sorted-keys.ts'

export type MetaValue = Uint8Array | Onode | Shard

const overheadBytes = 160
const onodeBytes = 500
const shardBytes = 700

/** An estimate of the memory that a value holds. */
export function memoryBytes(key: Key, value: MetaValue | null): number {
  if (value === null) return overheadBytes + key.length
  if (value instanceof Uint8Array) return overheadBytes + key.length + value.length
  if (value.kind === 'shard') return overheadBytes + key.length + shardBytes
  return overheadBytes + key.length + onodeBytes + attributeBytes(value)
}

/** Of that, what an object's attributes hold. */
export function attributeBytes({ omapHeader, xattrs }: Onode): number {
  let bytes = omapHeader.length
  for (const xattr of xattrs.values()) bytes += xattr.length + 80
  return bytes
}

let layers = 0

export class Layer {
  /** Tells whose a shard is: one that carries another layer's number is copied before it is changed. */
  readonly number: number = ++layers
  private readonly values = new Map<Key, MetaValue | null>()
  private readonly order = new SortedKeys()
  /** Keys of older states that are gone. */
  hidden: RangeSet = RangeSet.empty
  /** Estimated memory: the sum of `memoryBytes` of what it stores. Whoever changes a stored onode in place corrects it. */
  bytes = 0
  /** Units freed by these changes: they may be used again once the checkpoint of this layer is durable. */
  freedUnits: number[] = []
  /** The collection was made or removed. */
  existenceChanged = false

  get size(): number {
    return this.values.size
  }

  get dirty(): boolean {
    return this.values.size > 0 || this.hidden.spans.length > 0 || this.existenceChanged || this.freedUnits.length > 0
  }

  get(key: Key): MetaValue | null | undefined {
    const value = this.values.get(key)
    if (value !== undefined) return value
    return this.hidden.spans.length > 0 && this.hidden.has(key) ? null : undefined
  }

  /** What this layer itself stores, hidden ranges aside. */
  own(key: Key): MetaValue | null | undefined {
    return this.values.get(key)
  }

  /** Returns what the layer itself stored before, for `restore`. */
  put(key: Key, value: MetaValue | null): MetaValue | null | undefined {
    const before = this.values.get(key)
    if (before === undefined) this.order.add(key)
    else this.bytes -= memoryBytes(key, before)
    this.bytes += memoryBytes(key, value)
    this.values.set(key, value)
    return before
  }

  /** Forgets the key: older states show through again. */
  forget(key: Key): void {
    const before = this.values.get(key)
    if (before === undefined) return
    this.bytes -= memoryBytes(key, before)
    this.values.delete(key)
    this.order.remove(key)
  }

  restore(key: Key, before: MetaValue | null | undefined): void {
    if (before === undefined) this.forget(key)
    else this.put(key, before)
  }

  /** Hides older keys in [from, to) and forgets the layer's own; gives those back. */
  hide(from: Key, to: Key): readonly (readonly [Key, MetaValue | null])[] {
    const own = this.order.range(from, to).map((key) => [key, this.values.get(key) as MetaValue | null] as const)
    for (const [key] of own) this.forget(key)
    this.hidden = this.hidden.with(from, to)
    return own
  }

  /** The layer's own keys in [from, to), at most `limit`. */
  range(from: Key, to: Key | undefined, limit?: number): Key[] {
    return this.order.range(from, to, limit)
  }

  keys(): IterableIterator<Key> {
    return this.values.keys()
  }
}
