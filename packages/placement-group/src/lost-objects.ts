/**
 * Unfound objects, and an operator's word that they will not be found: `revert` to the older content that this copy has, or
 * `delete` (Ceph: "Unfound objects", `pg mark_unfound_lost`).
 *
 * Either is ordered like a write, so that it is part of the history: a copy that comes back later is brought to it by its log.
 *
 * Invariant 1: nothing is given up while somebody who may have it can still come: every OSD that may have taken part in a
 *              write since the placement group was clean was asked, or was declared lost.
 * Invariant 2: a copy is reverted only to what was acknowledged once: an older version, whole. One that is damaged, or newer
 *              than what is needed (nobody was told of that write), is no way back.
 */
import { ClusterError, type OsdId, wholePgId } from '@shoal/base'
import { featureLostObjects, hasFeatures } from '@shoal/cluster-map'
import { compareVersions, formatVersion, type ObjectId, type TransactionOp, type Version } from '@shoal/wire'
import type { ClientIo } from './client-io.ts'
import type { PgCore } from './core.ts'
import type { ObjectState } from './effects.ts'
import { decodeShardAttribute, shardAttributeName } from './erasure/shard-attribute.ts'
import { osdOf } from './member.ts'
import { decodeObjectAttribute, encodeObjectAttribute, objectAttributeName, versionOf } from './object-attribute.ts'
import type { LogEntry } from './pg-log.ts'
import { removeMissing } from './pg-store.ts'
import type { Recovery } from './recovery.ts'
import type { WriteTargets } from './write-replicator.ts'

type LostMode = 'revert' | 'delete'

/** Answered at once; the objects go on to be handled one by one. */
interface UnfoundList {
  readonly objects: readonly { readonly namespace: string; readonly name: string; readonly need: string }[]
  /** Not up, or not asked, and not declared lost. */
  readonly mightBeOn: readonly OsdId[]
}

export class LostObjects {
  private readonly core: PgCore
  private readonly recovery: Recovery
  private readonly clientIo: ClientIo
  private readonly targets: Pick<WriteTargets, 'isWrittenTo' | 'backfillTargets'>

  constructor(
    core: PgCore,
    recovery: Recovery,
    clientIo: ClientIo,
    targets: Pick<WriteTargets, 'isWrittenTo' | 'backfillTargets'>,
  ) {
    this.core = core
    this.recovery = recovery
    this.clientIo = clientIo
    this.targets = targets
  }

  list(): UnfoundList {
    const objects = this.recovery.unfoundObjects.map(({ object, need }) => {
      const { namespace, name } = object
      return { namespace, name, need: formatVersion(need) }
    })
    return { objects, mightBeOn: [...new Set(this.mightBeOn().map(osdOf))] }
  }

  /** How many are being handled. Throws EBUSY, EOPNOTSUPP, ENOENT. */
  mark(mode: LostMode): { readonly mode: LostMode; readonly objects: number } {
    const { unfoundObjects } = this.recovery
    if (this.core.isMerging) {
      const id = wholePgId(this.core.pgId)
      throw new ClusterError('EAGAIN', `${id} is about to be merged`, { hint: `shoal pg query ${id}` })
    }
    if (mode === 'revert' && this.core.shard !== undefined) {
      throw new ClusterError('EINVAL', 'shards cannot be reverted: nobody has an older content whole', {
        hint: `shoal pg mark-unfound-lost ${wholePgId(this.core.pgId)} delete`,
      })
    }
    if (unfoundObjects.length === 0) throw new ClusterError('ENOENT', `${this.core.pgId} has no unfound objects`)
    const [first] = this.mightBeOn()
    if (first !== undefined) {
      throw new ClusterError('EBUSY', `osd.${osdOf(first)} may have them and was not asked: nothing is given up`, {
        hint: `start osd.${osdOf(first)}; if its data is gone: shoal osd lost ${osdOf(first)} --yes-i-really-mean-it`,
      })
    }
    this.requireFeature()
    for (const { object, need } of unfoundObjects) this.load(object, need, mode)
    return { mode, objects: unfoundObjects.length }
  }

  private requireFeature(): void {
    const { core, targets } = this
    const older = [...core.mapping.acting, ...targets.backfillTargets].filter(
      (osd) => !hasFeatures(core.map.osds.get(osdOf(osd))?.features ?? 0, featureLostObjects),
    )
    if (older.length === 0) return
    throw new ClusterError('EOPNOTSUPP', `osd.${osdOf(older[0] as OsdId)} runs a version that would not follow`, {
      hint: `upgrade ${older.map((osd) => `osd.${osdOf(osd)}`).join(', ')} first`,
    })
  }

  /** Of all intervals since the placement group was clean. */
  private mightBeOn(): readonly OsdId[] {
    const { core, recovery } = this
    const found = new Set<OsdId>()
    for (const interval of core.pastIntervals) {
      if (!interval.maybeWrote) continue
      for (const osd of interval.acting) {
        const info = core.map.osds.get(osdOf(osd))
        if (osd === core.whoami || info === undefined || recovery.wasAsked(osd)) continue
        if (info.up || info.lostAt < interval.first) found.add(osd)
      }
    }
    return [...found].sort((a, b) => a - b)
  }

  private load(object: ObjectId, need: Version, mode: LostMode): void {
    const { core } = this
    const token = core.expectInInterval((input) => {
      // Found meanwhile.
      if (!this.recovery.unfoundObjects.some((one) => one.object === object)) return
      if (input.kind === 'loaded') this.onLoaded(object, need, mode, input.state)
      else if (mode === 'delete') this.giveUp(object, need, 0)
      else this.cannotRevert(object, 'the copy here is damaged')
    })
    core.emit({ kind: 'load', request: { object, omapKeys: [], extents: [] }, token })
  }

  private onLoaded(object: ObjectId, need: Version, mode: LostMode, state: ObjectState): void {
    const old = versionOf(state.xattrs.get(objectAttributeName))
    const isOlder = state.exists && compareVersions(old, need) < 0
    if (mode === 'delete') return this.giveUp(object, need, this.sizeAt(object, old, need, isOlder ? sizeOf(state) : 0))
    if (!isOlder) return this.cannotRevert(object, 'there is no older content here')
    this.revert(object, need, state, this.sizeAt(object, old, need, sizeOf(state)))
  }

  private cannotRevert(object: ObjectId, why: string): void {
    const message = `cannot revert ${object.name}: ${why}; it can only be deleted`
    this.core.emit({ kind: 'log', level: 'warn', message, cluster: true })
  }

  /** Of the version that is lost, as the log tells how the placement group grew with each entry. */
  private sizeAt(object: ObjectId, from: Version, to: Version, sizeBytes: number): number {
    let size = sizeBytes
    let before: LogEntry | undefined
    for (const entry of this.core.log.all()) {
      const is = entry.object.name === object.name && entry.object.namespace === object.namespace
      const counts = compareVersions(entry.version, from) > 0 && compareVersions(entry.version, to) <= 0
      if (is && counts && before !== undefined) size += entry.pgBytes - before.pgBytes
      before = entry
    }
    return Math.max(0, size)
  }

  private entry(kind: 'modify' | 'delete', object: ObjectId, need: Version, growth: number): LogEntry {
    const { core } = this
    const version = { epoch: core.map.epoch, version: core.log.head.version + 1 }
    return {
      kind,
      version,
      priorVersion: need,
      object,
      // Of nobody: it is never sent again.
      request: { client: 0, tid: version.version },
      oldestTid: version.version,
      modifiedMs: core.clock.wallMs(),
      errno: 0,
      pgObjects: Math.max(0, core.objects - (kind === 'delete' ? 1 : 0)),
      pgBytes: Math.max(0, core.bytes + growth),
    }
  }

  private giveUp(object: ObjectId, need: Version, sizeBytes: number): void {
    const { core } = this
    const entry = this.entry('delete', object, need, -sizeBytes)
    core.missing.delete(object)
    this.clientIo.orderGivenUp(entry)
    core.count('lostDeleted')
    this.recovery.onGivenUp(object)
  }

  /** What is here becomes the newest version; the others miss it from now on. */
  private revert(object: ObjectId, need: Version, state: ObjectState, lostBytes: number): void {
    const { core } = this
    const entry = this.entry('modify', object, need, state.sizeBytes - lostBytes)
    const attribute = state.xattrs.get(objectAttributeName)
    const old = attribute === undefined ? undefined : decodeObjectAttribute(attribute)
    const { version, modifiedMs, request } = entry
    const renewed = encodeObjectAttribute({
      version,
      userVersion: version.version,
      modifiedMs: old?.modifiedMs ?? modifiedMs,
      request,
    })
    const steps: readonly TransactionOp[] = [
      { kind: 'set-xattrs', collection: core.pgId, object, xattrs: new Map([[objectAttributeName, renewed]]) },
      removeMissing(core.pgId, [object]),
    ]
    core.missing.delete(object)
    this.clientIo.orderLost(entry, steps, [])
    core.count('lostReverted')
    const isKept = (osd: OsdId): boolean => core.mapping.acting.includes(osd) || this.targets.isWrittenTo(osd, object)
    this.recovery.onReverted(object, version, isKept)
  }
}

/** A shard says in an attribute how large its object is. */
function sizeOf({ xattrs, sizeBytes }: ObjectState): number {
  const shard = xattrs.get(shardAttributeName)
  return shard === undefined ? sizeBytes : decodeShardAttribute(shard).sizeBytes
}
