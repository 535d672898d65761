/**
 * What an erasure-coded member keeps so that a write can be undone: before a shard is changed, its old state is cloned (or
 * renamed, when nothing of it stays) to a *stash* of the write's version, in the write's own transaction. The store shares
 * the blocks, so that a stash takes the room of what is overwritten.
 *
 * A write that reached fewer than k shards cannot be read by anybody, and what it overwrote on those that have it is gone
 * for the others: unlike in a replicated PG a divergent entry cannot be mended by fetching the version before. So peering
 * rolls divergent entries back from their stashes.
 *
 * Invariants
 * 1. A stash exists from the transaction that changes the shard until its entry is on every member of the interval: the
 *    primary says so (`rollForward`). No later interval can choose a log without that entry then.
 * 2. The record of a stash (`k`, version) is written and removed together with it.
 */
import { decode, encode, type PgId } from '@shoal/base'
import {
  compareVersions,
  equalVersions,
  type ObjectId,
  objectIdCodec,
  objectKey,
  type TransactionOp,
  type Version,
  zeroVersion,
} from '@shoal/wire'
import type { LogEntry } from '../pg-log.ts'

/** Where stashes lie; never listed, never sent. */
export const stashNamespace = '\u0000rollback'

export function stashName(object: ObjectId, version: Version): ObjectId {
  const name = `${version.epoch}.${version.version}/${object.namespace}/${object.name}`
  return { ...object, namespace: stashNamespace, name }
}

export interface Stash {
  readonly version: Version
  readonly object: ObjectId
}

export const stashTag: number = 'k'.charCodeAt(0)

function stashKey({ epoch, version }: Version): Uint8Array {
  const key = new Uint8Array(13)
  const view = new DataView(key.buffer)
  key[0] = stashTag
  view.setUint32(1, epoch)
  view.setUint32(5, Math.floor(version / 0x1_0000_0000))
  view.setUint32(9, version >>> 0)
  return key
}

/** Of a record that {@link RollbackLog} has stored. */
export function readStash(key: Uint8Array, value: Uint8Array): Stash {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength)
  const version = { epoch: view.getUint32(1), version: view.getUint32(5) * 0x1_0000_0000 + view.getUint32(9) }
  return { version: version as Version, object: decode(objectIdCodec, value) }
}

function keyOf({ epoch, version }: Version): string {
  return `${epoch}'${version}`
}

export class RollbackLog {
  private readonly collection: PgId
  /** By version, oldest first. */
  private readonly stashes: Map<string, Stash>

  constructor(collection: PgId, stashes: readonly Stash[]) {
    this.collection = collection
    const sorted = stashes.toSorted((a, b) => compareVersions(a.version, b.version))
    this.stashes = new Map(sorted.map((stash) => [keyOf(stash.version), stash]))
  }

  get size(): number {
    return this.stashes.size
  }

  /** An entry whose transaction makes its stash; returns the step that records it. */
  add({ version, object }: LogEntry): TransactionOp {
    this.stashes.set(keyOf(version), { version, object })
    const entry = { key: stashKey(version), value: encode(objectIdCodec, object) }
    return { kind: 'meta-set', collection: this.collection, entries: [entry] }
  }

  /** Entries below this version are on every member: their stashes go. */
  rollForward(below: Version): readonly TransactionOp[] {
    const gone: Stash[] = []
    for (const stash of this.stashes.values()) {
      if (compareVersions(stash.version, below) >= 0) break
      gone.push(stash)
    }
    return this.drop(gone)
  }

  /** The copy starts over, or goes. */
  clear(): readonly TransactionOp[] {
    return this.drop([...this.stashes.values()])
  }

  private drop(gone: readonly Stash[]): readonly TransactionOp[] {
    if (gone.length === 0) return []
    const { collection } = this
    const steps: TransactionOp[] = gone.map(({ object, version }) => {
      this.stashes.delete(keyOf(version))
      return { kind: 'remove', collection, object: stashName(object, version) }
    })
    steps.push({ kind: 'meta-remove', collection, keys: gone.map(({ version }) => stashKey(version)) })
    return steps
  }

  /** Whether this change of an object can be undone here. */
  canUndo({ version, priorVersion }: LogEntry): boolean {
    return compareVersions(priorVersion, zeroVersion) === 0 || this.stashes.has(keyOf(version))
  }

  /** Where the object lies in this version, if one of these entries has replaced it and can be undone. */
  keptAs(object: ObjectId, version: Version, entries: readonly LogEntry[]): ObjectId | undefined {
    if (this.stashes.size === 0) return undefined
    const key = objectKey(object)
    const entry = entries.findLast(
      (one) =>
        this.stashes.has(keyOf(one.version)) &&
        equalVersions(one.priorVersion, version) &&
        objectKey(one.object) === key,
    )
    return entry === undefined ? undefined : stashName(object, entry.version)
  }

  /**
   * Steps that bring back what the objects were before these entries, which are newest to go. An object that a step brings
   * back has its old version, attributes and bytes. `restores`: objects whose old state is wanted; the stashes of others
   * only go.
   */
  undo(divergent: readonly LogEntry[], restores: ReadonlySet<string>): readonly TransactionOp[] {
    const { collection } = this
    const steps: TransactionOp[] = []
    const gone: Stash[] = []
    for (const { object, version } of divergent.toReversed()) {
      const stash = this.stashes.get(keyOf(version))
      if (stash === undefined) continue
      this.stashes.delete(keyOf(version))
      gone.push(stash)
      const from = stashName(object, version)
      steps.push(
        restores.has(objectKey(object))
          ? { kind: 'rename', collection, object: from, to: object }
          : { kind: 'remove', collection, object: from },
      )
    }
    if (gone.length > 0) steps.push({ kind: 'meta-remove', collection, keys: gone.map((one) => stashKey(one.version)) })
    return steps
  }
}
