/** How a transaction that needs what is not in memory asks for it, and where it finds that when it is tried again. */
import type { PgId } from '@shoal/base'
import type { MetaValue } from './layer.ts'
import type { Key } from './layout.ts'
import type { Onode, Shard } from './onode.ts'

/** Thrown by an execution that met something that must be read first. */
export class NeedLoad {
  readonly load: () => Promise<void>

  constructor(load: () => Promise<void>) {
    this.load = load
  }
}

/**
 * What loads brought in for one transaction; it stays valid since nothing is ordered before that transaction. Most load
 * nothing, so that the maps are made on demand.
 */
export class Loaded {
  private valuesByKey: Map<Key, Onode | Shard | null> | undefined
  private omapsByPrefix: Map<Key, readonly (readonly [Key, MetaValue])[]> | undefined
  private objectsByCollection: Map<PgId, readonly Key[]> | undefined
  private damagedKeys: Set<Key> | undefined
  private blocksByUnit: Map<number, { readonly data: Uint8Array; readonly bad: boolean }> | undefined
  private blobsByUnit: Map<number, Uint8Array | undefined> | undefined

  get values(): Map<Key, Onode | Shard | null> {
    this.valuesByKey ??= new Map()
    return this.valuesByKey
  }

  get omaps(): Map<Key, readonly (readonly [Key, MetaValue])[]> {
    this.omapsByPrefix ??= new Map()
    return this.omapsByPrefix
  }

  /** Objects of a collection about to be removed: as many as fit one page. */
  get objects(): Map<PgId, readonly Key[]> {
    this.objectsByCollection ??= new Map()
    return this.objectsByCollection
  }

  /** Onodes that are to be removed and cannot be read. */
  addDamaged(key: Key): void {
    this.damagedKeys ??= new Set()
    this.damagedKeys.add(key)
  }

  isDamaged(key: Key): boolean {
    return this.damagedKeys?.has(key) === true
  }

  /** Old blocks by unit. */
  get blocks(): Map<number, { readonly data: Uint8Array; readonly bad: boolean }> {
    this.blocksByUnit ??= new Map()
    return this.blocksByUnit
  }

  /** What comes out of old blobs, by their first unit; undefined for those that cannot be read. */
  get blobs(): Map<number, Uint8Array | undefined> {
    this.blobsByUnit ??= new Map()
    return this.blobsByUnit
  }
}
