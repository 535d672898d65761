/**
 * Moves what the layers hold into `level`, so that the ring's tail can advance.
 *
 * One round, in this order; each step is durable before the next begins:
 * 1. Freeze: every changed collection gets a new active layer; the frozen ones are the exact state after transaction S.
 * 2. Every image of S and before is in the data file. Then everything that is ordered by now is durable in the journal:
 *    an image of S that a later transaction superseded or freed was never written, and only that later record says why.
 * 3. `datasync` of the data file.
 * 4. One atomic batch per collection: its changes and "applied up to S". A crash between two batches is harmless: replay
 *    skips, per collection, what was applied.
 * 5. The state record with the new tail, in a synced batch.
 * 6. The units freed by the frozen layers may be used again; the tail moves.
 * Commits go on all the while; the encoding of batches yields to the event loop in between.
 */
import type { FileHandle, KeyValueOp, Timers } from '@shoal/base'
import type { CompressedSpace } from './compressed-space.ts'
import { Layer } from './layer.ts'
import { bytesToKey, type Key, keys, keyToBytes } from './layout.ts'
import {
  type Collection,
  encodeCollection,
  encodeState,
  isCached,
  type MetaStore,
  type StoreState,
} from './meta-store.ts'
import type { PendingData } from './pending-data.ts'

export interface CheckpointOptions {
  readonly meta: MetaStore
  readonly pending: PendingData
  readonly data: FileHandle
  readonly timers: Timers
  readonly lastSequence: () => number
  /** Resolves once everything that is ordered now is durable in the journal. */
  readonly journalDurable: () => Promise<void>
  /** The state record for a store whose layers are in `level` up to this moment. */
  readonly mark: () => StoreState
  /** The units of a frozen layer are free again. */
  readonly release: (units: readonly number[]) => void
}

interface Frozen {
  readonly collection: Collection
  readonly layer: Layer
  readonly exists: boolean
  readonly compressed: CompressedSpace
}

const entriesPerTurn = 256
const hiddenKeysPerPage = 1024

export class Checkpointer {
  private readonly options: CheckpointOptions
  rounds = 0
  entriesWritten = 0

  constructor(options: CheckpointOptions) {
    this.options = options
  }

  /** Resolves with the state that was made durable. Rounds never overlap. */
  async round(change: Partial<StoreState> = {}): Promise<void> {
    const { meta, pending, data, mark, lastSequence } = this.options
    const sequence = lastSequence()
    const state = { ...mark(), ...change }
    const frozen = this.freeze()
    await pending.flushThrough(sequence)
    await this.options.journalDurable()
    await data.datasync()
    for (const { collection, layer, exists, compressed } of frozen) {
      const ops = await this.encodeLayer(layer)
      collection.applied = sequence
      ops.push(meta.sealed(keys.collection(collection.id), encodeCollection(exists, sequence, compressed)))
      await meta.level.batch(ops, { sync: false })
      this.entriesWritten += ops.length
    }
    await meta.level.batch([meta.sealed(keys.state, encodeState(state))], { sync: true })
    for (const { collection, layer } of frozen) this.thaw(collection, layer)
    this.rounds++
  }

  private freeze(): Frozen[] {
    const frozen: Frozen[] = []
    for (const collection of this.options.meta.collections.values()) {
      const layer = collection.active
      if (!layer.dirty) continue
      collection.frozen = layer
      collection.active = new Layer()
      const { exists, compressed } = collection
      frozen.push({ collection, layer, exists, compressed })
    }
    return frozen
  }

  private thaw(collection: Collection, layer: Layer): void {
    const { meta } = this.options
    for (const key of layer.keys()) {
      const value = layer.own(key)
      if (isCached(key) && value !== undefined && !(value instanceof Uint8Array)) meta.remember(key, value)
    }
    collection.frozen = undefined
    collection.generation++
    this.options.release(layer.freedUnits)
  }

  private async encodeLayer(layer: Layer): Promise<KeyValueOp[]> {
    const ops: KeyValueOp[] = []
    for (const span of layer.hidden.spans) {
      for (const key of await this.storedKeys(span.from, span.to)) {
        if (layer.own(key) === undefined) ops.push({ kind: 'delete', key: keyToBytes(key) })
      }
    }
    const { meta } = this.options
    let turn = 0
    for (const key of layer.keys()) {
      const value = layer.own(key)
      if (value === undefined) continue
      if (value === null) ops.push({ kind: 'delete', key: keyToBytes(key) })
      else ops.push(meta.sealed(key, meta.encodeValue(value)))
      if (++turn % entriesPerTurn === 0) await this.nextTurn()
    }
    return ops
  }

  private async storedKeys(from: Key, to: Key): Promise<Key[]> {
    const found: Key[] = []
    for (let start = from; ; ) {
      const page = await this.options.meta.level.entries({
        from: keyToBytes(start),
        to: keyToBytes(to),
        limit: hiddenKeysPerPage,
      })
      for (const [key] of page) found.push(bytesToKey(key))
      if (page.length < hiddenKeysPerPage) return found
      start = `${found[found.length - 1] as Key}\0`
    }
  }

  private nextTurn(): Promise<void> {
    return new Promise((resolve) => this.options.timers.soon(resolve))
  }
}
