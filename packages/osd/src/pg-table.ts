/**
 * The placement groups on this OSD: loads them, makes new ones, gives them every map.
 *
 * Invariant 1: every machine sees every map once, in order, from the one after the map it was stored with; machines act
 *              on an interval (`activate-map`) only when no newer map is known.
 * Invariant 2: there is a machine for every PG whose up or acting set has this OSD, for every PG that lies in the store,
 *              and for every existing PG that a peer asked about: whoever asks gets an answer, even if it is "nothing".
 */
import { type Epoch, type OsdId, type PgId, pgPool, pgShard, wholePgId } from '@shoal/base'
import { isNewInterval, type OsdMap, PlacementCache } from '@shoal/cluster-map'
import {
  distrustCopy,
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
import type { PgServices } from './pg-services.ts'
import { shardServices } from './shard-services.ts'
import { metaCollection } from './superblock.ts'

export interface PgTableOptions {
  readonly whoami: OsdId
  readonly services: PgServices
  /** A machine for a PG as it was stored, or for one that this OSD has nothing of. */
  readonly createMachine: (pgId: PgId, stored: StoredPg | undefined) => PgMachine
  /** PGs whose interval ended with this map. */
  readonly onIntervalsEnded: (pgs: ReadonlySet<PgId>) => void
  readonly onNotPrimary: (pgId: PgId) => void
}

interface Entry {
  readonly host: PgHost
  /** The newest map that the machine has seen. */
  epoch: Epoch
}

const pageEntries = 512

export class PgTable {
  private readonly options: PgTableOptions
  private readonly entries = new Map<PgId, Entry>()
  private current: PlacementCache | undefined

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
    if (mappingIfPresent(this.current, pgId) === undefined) return undefined
    const { whoami } = this.options
    const shares = sharesOf(this.current, pgId, whoami)
    const leading = shares.find((share) => this.isLedHere(share)) ?? shares[0]
    return leading === undefined ? undefined : this.entries.get(leading)?.host
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
      this.add(pgId, stored, Math.max(0, epoch - 1) as Epoch)
    }
    return oldest
  }

  onMap(map: OsdMap, latest: boolean): void {
    const { whoami, onIntervalsEnded, onNotPrimary } = this.options
    const before = this.current
    const placement = new PlacementCache(map, before)
    this.current = placement
    const ended = new Set<PgId>()
    for (const [pgId, entry] of this.entries) {
      const mapping = mappingIfPresent(placement, pgId) ?? nowhere
      if (before !== undefined && this.intervalEnded(before, placement, pgId)) ended.add(wholePgId(pgId))
      if (osdOf(mapping.actingPrimary) !== whoami) onNotPrimary(wholePgId(pgId))
      this.giveMap(entry, map)
    }
    onIntervalsEnded(ended)
    for (const placed of placement.pgsOf(whoami)) {
      for (const pgId of sharesOf(placement, placed, whoami)) {
        if (!this.entries.has(pgId)) this.giveMap(this.add(pgId, undefined, 0 as Epoch), map)
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
    if (placement === undefined) return
    let entry = this.entries.get(pgId)
    if (entry === undefined) {
      if (mappingIfPresent(placement, pgId) === undefined) return
      entry = this.add(pgId, undefined, 0 as Epoch)
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

  private add(pgId: PgId, stored: StoredPg | undefined, epoch: Epoch): Entry {
    const { createMachine } = this.options
    const entry = { host: new PgHost(pgId, createMachine(pgId, stored), this.servicesOf(pgId)), epoch }
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
    const pool = pgPool(pgId)
    return isNewInterval(
      { mapping: mappingIfPresent(before, pgId) ?? nowhere, pool: before.map.pools.get(pool) },
      { mapping: mappingIfPresent(after, pgId) ?? nowhere, pool: after.map.pools.get(pool) },
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
