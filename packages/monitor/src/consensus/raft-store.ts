/**
 * Raft's persistent state in a key-value store: docs/formats/raft-log.md.
 *
 *     'h'              hard state (term, vote, commit)
 *     's'              the newest snapshot
 *     'l' + u64be      log entry by index
 *
 * One batch per Ready, synced: entries, hard state and snapshot become durable together.
 */
import { decode, encode, type KeyValueOp, type KeyValueStore, utf8Encode } from '@shoal/base'
import {
  type Entry,
  entryCodec,
  type HardState,
  hardStateCodec,
  type Ready,
  type Snapshot,
  snapshotCodec,
} from '@shoal/raft'

const hardStateKey = utf8Encode('h')
const snapshotKey = utf8Encode('s')
const logPrefix = 'l'.charCodeAt(0)
const readPage = 1000

/** Keys sort as the indices do. */
function entryKey(index: number): Uint8Array {
  const key = new Uint8Array(9)
  key[0] = logPrefix
  const view = new DataView(key.buffer)
  view.setUint32(1, Math.floor(index / 0x1_0000_0000))
  view.setUint32(5, index >>> 0)
  return key
}

export interface StoredRaft {
  readonly hardState: HardState
  readonly snapshot: Snapshot | undefined
  readonly entries: readonly Entry[]
}

export class RaftStore {
  private readonly store: KeyValueStore
  /** Highest stored index: what a truncation has to delete. */
  private lastIndex = 0
  private firstIndex = 1

  constructor(store: KeyValueStore) {
    this.store = store
  }

  async load(): Promise<StoredRaft> {
    const [hardState, snapshotBytes] = await Promise.all([this.store.get(hardStateKey), this.store.get(snapshotKey)])
    const snapshot = snapshotBytes === undefined ? undefined : decode(snapshotCodec, snapshotBytes)
    const entries: Entry[] = []
    this.firstIndex = (snapshot?.index ?? 0) + 1
    this.lastIndex = this.firstIndex - 1
    for (;;) {
      const page = await this.store.entries({
        from: entryKey(this.lastIndex + 1),
        to: entryKey(Number.MAX_SAFE_INTEGER),
        limit: readPage,
      })
      for (const [, value] of page) entries.push(decode(entryCodec, value))
      this.lastIndex = entries.at(-1)?.index ?? this.lastIndex
      if (page.length < readPage) break
    }
    return {
      hardState: hardState === undefined ? { term: 0, votedFor: 0, commit: 0 } : decode(hardStateCodec, hardState),
      snapshot,
      entries,
    }
  }

  /** What a new store begins with. */
  async initialize(snapshot: Snapshot): Promise<void> {
    await this.store.batch([{ kind: 'put', key: snapshotKey, value: encode(snapshotCodec, snapshot) }], { sync: true })
  }

  /** Durable when it resolves, but for a lone commit index. Nothing is written for a Ready that only sends or applies. */
  async save(ready: Ready): Promise<void> {
    const ops: KeyValueOp[] = []
    if (ready.snapshot !== undefined) {
      for (let index = this.firstIndex; index <= this.lastIndex; index++)
        ops.push({ kind: 'delete', key: entryKey(index) })
      ops.push({ kind: 'put', key: snapshotKey, value: encode(snapshotCodec, ready.snapshot) })
      this.firstIndex = ready.snapshot.index + 1
      this.lastIndex = ready.snapshot.index
    }
    for (const entry of ready.entries)
      ops.push({ kind: 'put', key: entryKey(entry.index), value: encode(entryCodec, entry) })
    const last = ready.entries.at(-1)?.index
    if (last !== undefined) {
      for (let index = last + 1; index <= this.lastIndex; index++) ops.push({ kind: 'delete', key: entryKey(index) })
      this.lastIndex = last
    }
    if (ready.hardState !== undefined)
      ops.push({ kind: 'put', key: hardStateKey, value: encode(hardStateCodec, ready.hardState) })
    if (ops.length > 0) await this.store.batch(ops, { sync: ready.mustSync })
  }

  /** The snapshot and the removal of what it covers, in one batch: a crash sees the one state or the other. */
  async compact(snapshot: Snapshot): Promise<void> {
    const ops: KeyValueOp[] = [{ kind: 'put', key: snapshotKey, value: encode(snapshotCodec, snapshot) }]
    for (let index = this.firstIndex; index <= snapshot.index; index++)
      ops.push({ kind: 'delete', key: entryKey(index) })
    await this.store.batch(ops, { sync: true })
    this.firstIndex = snapshot.index + 1
  }
}
