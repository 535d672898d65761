/**
 * The placement groups on this OSD: loads them, makes new ones, gives them every map.
 *
 * Invariant 1: every machine sees every map once, in order, from the one after the map it was stored with; machines act
 *              on an interval (`activate-map`) only when no newer map is known.
 * Invariant 2: there is a machine for every PG whose up or acting set has this OSD, for every PG that lies in the store,
 *              and for every existing PG that a peer asked about: whoever asks gets an answer, even if it is "nothing".
 * Invariant 3: a PG that a map splits or merges has no machine while that is done in the store (pg-splitter.ts,
 *              pg-merger.ts): clients are
 *              sent away, peers' messages are dropped; all of that is of the interval that ends with the map.
 */
import { type Epoch, type OsdId, type PgId, pgPool, pgShard, wholePgId } from '@shoal/base'
import { isNewInterval, type OsdMap, PlacementCache, type Pool } from '@shoal/cluster-map'
import {
  distrustCopy,
  type FrozenPg,
  loadPgState,
  osdOf,
  pgRecordRange,
  rewriteLog,
  type StoredPg,
  shardOf,
} from '@shoal/placement-group'
import type { OmapEntry, PgEnvelope, TransactionOp } from '@shoal/wire'
import { PgHost, type PgMachine } from './pg-host.ts'
import { mappingIfPresent, nowhere, sharesOf } from './pg-mapping.ts'
import { doneMerge, type Merge, mergeCollections, mergesOf, undoCutOffMerge } from './pg-merger.ts'
import type { PgServices } from './pg-services.ts'
import { partsOf, type Split, splitCollections, undoCutOffSplit } from './pg-splitter.ts'
import { shardServices } from './shard-services.ts'
import { metaCollection } from './superblock.ts'

export interface PgTableOptions {
  readonly whoami: OsdId
  readonly services: PgServices
  /** A machine for a PG as it was stored, or for one that this OSD has nothing of. */
  readonly createMachine: (pgId: PgId, stored: StoredPg | undefined, lastMap: OsdMap | undefined) => PgMachine
  /** PGs whose interval ended with this map. */
  readonly onIntervalsEnded: (pgs: ReadonlySet<PgId>) => void
  readonly onNotPrimary: (pgId: PgId) => void
}

interface Entry {
  readonly host: PgHost
  /** The newest map that the machine has seen. */
  epoch: Epoch
  /** The newest map that what it was made from takes into account. */
  readonly storedEpoch: Epoch
}

const pageEntries = 512

export class PgTable {
  private readonly options: PgTableOptions
  private readonly entries = new Map<PgId, Entry>()
  private readonly splitting = new Set<PgId>()
  private current: PlacementCache | undefined
  /** By the name of an erasure-coded PG: which of its shards answers here under this map. Looked for by every operation. */
  private readonly leading = new Map<PgId, PgId>()

  constructor(options: PgTableOptions) {
    this.options = options
  }

  get size(): number {
    return this.entries.size
  }

  get ids(): IterableIterator<PgId> {
    return this.entries.keys()
  }

  /** Of the newest map; undefined before the first. */
  get placement(): PlacementCache | undefined {
    return this.current
  }

  /** Of an erasure-coded PG by its own name: the shard that serves here, or any that is here. */
  find(pgId: PgId): PgHost | undefined {
    const entry = this.entries.get(pgId)
    if (entry !== undefined || this.current === undefined) return entry?.host
    let leading = this.leading.get(pgId)
    if (leading === undefined) {
      leading = this.leadingShare(this.current, pgId)
      if (leading === undefined) return undefined
      this.leading.set(pgId, leading)
    }
    return this.entries.get(leading)?.host
  }

  private leadingShare(placement: PlacementCache, pgId: PgId): PgId | undefined {
    if (mappingIfPresent(placement, pgId) === undefined) return undefined
    const shares = sharesOf(placement, pgId, this.options.whoami)
    return shares.find((share) => this.isLedHere(share)) ?? shares[0]
  }

  private isLedHere(share: PgId): boolean {
    const { actingPrimary } = mappingIfPresent(this.current as PlacementCache, share) ?? nowhere
    return osdOf(actingPrimary) === this.options.whoami && shardOf(actingPrimary) === (pgShard(share) ?? 0)
  }

  /**
   * Reads all PGs of the store. Returns the oldest epoch that one of them was stored with; undefined when there are none.
   * `distrust`: the store has lost acknowledged writes. When this resolves, every copy has it on disk that it is not whole.
   */
  async load(distrust: boolean): Promise<Epoch | undefined> {
    const { store, env } = this.options.services
    let oldest: Epoch | undefined
    for (const pgId of store.collections()) {
      if (pgId === metaCollection) continue
      const { records, damaged } = await this.records(pgId)
      if (await undoCutOffSplit(this.options.services, pgId, records)) continue
      await undoCutOffMerge(this.options.services, pgId, records)
      let stored = loadPgState(records, damaged)
      if (damaged.length > 0) {
        env.log.error('records of a placement group are damaged: its objects are compared with other copies', {
          pgId,
          records: damaged.length,
        })
      }
      if ((distrust || damaged.length > 0) && stored !== undefined) {
        const { copy, steps } = distrustCopy(pgId, stored)
        // In one transaction: without the damaged records, and trusted, the copy would pass for a whole one.
        const log = damaged.length > 0 ? rewriteLog(pgId, stored.log) : []
        const gone: TransactionOp[] =
          damaged.length > 0 ? [{ kind: 'meta-remove', collection: pgId, keys: damaged }] : []
        await store.submit({ ops: [...gone, ...log, ...steps] })
        stored = copy
      }
      const epoch = stored?.record.interval.mapEpoch ?? (0 as Epoch)
      if (stored === undefined) env.log.warn('a collection without a record: its creation was cut off', { pgId })
      else if (oldest === undefined || epoch < oldest) oldest = epoch
      // The machine wants the map it was stored with, too: it cannot act without one, and there may be no newer.
      this.add(pgId, stored, Math.max(0, epoch - 1) as Epoch, undefined)
    }
    return oldest
  }

  /**
   * Splits and merges what the map does, before anybody is given the map; undefined when that is nothing. `begin` is called first of
   * all. Nothing else may be done with the table before it is over, except what clients and peers send.
   */
  prepare(map: OsdMap, begin: () => void): Promise<void> | undefined {
    const before = this.current?.map
    if (before === undefined) return undefined
    const splits: Split[] = []
    for (const wholeId of [...this.entries.keys()]) {
      const parts = partsOf(wholeId, before, map)
      const frozen = parts.length === 0 ? undefined : this.stop(wholeId, map.epoch)
      if (frozen !== undefined) splits.push({ wholeId, frozen, parts, pool: map.pools.get(pgPool(wholeId)) as Pool })
    }
    const merges = this.stopMerging(before, map)
    if (splits.length === 0 && merges.length === 0) return undefined
    begin()
    return this.remake(splits, merges, before)
  }

  /** Stops the machines of those that the map merges. */
  private stopMerging(before: OsdMap, map: OsdMap): readonly Merge[] {
    const merges: Merge[] = []
    for (const [targetId, sourceIds] of mergesOf(before, map)) {
      const sources = sourceIds.map((id) => ({ id, frozen: this.stop(id, map.epoch) }))
      const target = this.stop(targetId, map.epoch)
      for (const { id, frozen } of sources) if (frozen === undefined) this.removeOld(id, map.epoch)
      if (target === undefined && sources.every(({ frozen }) => frozen === undefined)) continue
      const done = sourceIds.length === 1 ? doneMerge(sourceIds[0] as PgId, map) : undefined
      merges.push({ targetId, target, sources, before: before.pools.get(pgPool(targetId)) as Pool, done })
    }
    return merges
  }

  /** Undefined for a PG that this OSD has nothing of, or that is of this map already. */
  private stop(id: PgId, epoch: Epoch): FrozenPg | undefined {
    const entry = this.entries.get(id)
    if (entry === undefined || Math.max(entry.epoch, entry.storedEpoch) >= epoch) return undefined
    const frozen = entry.host.freeze()
    if (frozen === undefined) return undefined
    this.entries.delete(id)
    this.splitting.add(id)
    return frozen
  }

  /** A machine of a PG that is no more, and has nothing in the store. */
  private removeOld(id: PgId, epoch: Epoch): void {
    const entry = this.entries.get(id)
    // Where there is something, its removal is under way already.
    if (entry === undefined || this.options.services.store.hasCollection(id)) return
    if (Math.max(entry.epoch, entry.storedEpoch) < epoch) this.remove(id)
  }

  private async remake(splits: readonly Split[], merges: readonly Merge[], before: OsdMap): Promise<void> {
    const { services } = this.options
    for (const [pgId, stored] of await splitCollections(services, splits)) {
      this.add(pgId, stored, before.epoch, before)
    }
    for (const merge of merges) {
      const stored = await mergeCollections(services, merge)
      if (stored !== undefined) this.add(merge.targetId, stored, before.epoch, before)
    }
    this.splitting.clear()
  }

  onMap(map: OsdMap, latest: boolean): void {
    const { whoami, onIntervalsEnded, onNotPrimary } = this.options
    const before = this.current
    const placement = new PlacementCache(map, before)
    this.current = placement
    this.leading.clear()
    const ended = new Set<PgId>()
    // They have no machine any more to say so.
    if (before !== undefined)
      for (const gone of mergesOf(before.map, map).values()) for (const id of gone) ended.add(id)
    for (const [pgId, entry] of this.entries) {
      const mapping = mappingIfPresent(placement, pgId) ?? nowhere
      if (before !== undefined && this.intervalEnded(before, placement, pgId)) ended.add(wholePgId(pgId))
      if (osdOf(mapping.actingPrimary) !== whoami) onNotPrimary(wholePgId(pgId))
      this.giveMap(entry, map)
    }
    onIntervalsEnded(ended)
    for (const placed of placement.pgsOf(whoami)) {
      for (const pgId of sharesOf(placement, placed, whoami)) {
        if (!this.entries.has(pgId)) this.giveMap(this.add(pgId, undefined, 0 as Epoch, undefined), map)
      }
    }
    if (latest) this.activate()
  }

  /** The map that the machines have seen is the newest there is. */
  activate(): void {
    for (const { host } of [...this.entries.values()]) host.feed({ kind: 'activate-map' })
  }

  /** Another monitor leads, and knows nothing of what was agreed about quotas. */
  onNewLeader(): void {
    for (const { host } of this.entries.values()) host.feed({ kind: 'quota-forgotten' })
  }

  /** A message of a member, whose map this OSD has by now. */
  deliver(from: OsdId, message: PgEnvelope): void {
    const { pgId } = message
    const placement = this.current
    if (placement === undefined || this.splitting.has(pgId)) return
    let entry = this.entries.get(pgId)
    if (entry === undefined) {
      if (mappingIfPresent(placement, pgId) === undefined) return
      entry = this.add(pgId, undefined, 0 as Epoch, undefined)
      this.giveMap(entry, placement.map)
      entry.host.feed({ kind: 'activate-map' })
    }
    entry.host.feed({ kind: 'message', from, message })
  }

  remove(pgId: PgId): void {
    this.entries.get(pgId)?.host.close()
    this.entries.delete(pgId)
  }

  close(): void {
    for (const { host } of this.entries.values()) host.close()
  }

  private add(pgId: PgId, stored: StoredPg | undefined, epoch: Epoch, lastMap: OsdMap | undefined): Entry {
    const host = new PgHost(pgId, this.options.createMachine(pgId, stored, lastMap), this.servicesOf(pgId))
    const entry = { host, epoch, storedEpoch: stored?.record.interval.mapEpoch ?? (0 as Epoch) }
    this.entries.set(pgId, entry)
    return entry
  }

  private servicesOf(pgId: PgId): PgServices {
    const { services, whoami } = this.options
    if (pgShard(pgId) === undefined) return services
    const poolSize = (): number => this.current?.map.pools.get(pgPool(pgId))?.size ?? 0
    return shardServices(services, whoami, poolSize, (from, message) => this.deliver(from, message))
  }

  private giveMap(entry: Entry, map: OsdMap): void {
    if (map.epoch <= entry.epoch) return
    entry.epoch = map.epoch
    const mapping = this.current === undefined ? undefined : mappingIfPresent(this.current, entry.host.pgId)
    entry.host.feed({ kind: 'map', map, mapping: mapping ?? nowhere })
  }

  private intervalEnded(before: PlacementCache, after: PlacementCache, pgId: PgId): boolean {
    return isNewInterval(
      pgId,
      { mapping: mappingIfPresent(before, pgId) ?? nowhere, map: before.map },
      { mapping: mappingIfPresent(after, pgId) ?? nowhere, map: after.map },
    )
  }

  private async records(
    pgId: PgId,
  ): Promise<{ readonly records: readonly OmapEntry[]; readonly damaged: readonly Uint8Array[] }> {
    const records: OmapEntry[] = []
    const damaged: Uint8Array[] = []
    let { from } = pgRecordRange
    for (;;) {
      const page = await this.options.services.store.readableEntries(pgId, from, pgRecordRange.to, pageEntries)
      records.push(...page.entries)
      damaged.push(...page.damaged)
      if (!page.more || page.last === undefined) return { records, damaged }
      from = new Uint8Array([...page.last, 0])
    }
  }
}
