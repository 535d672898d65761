/**
 * Gathers changes to the OSD map into one incremental. Later changes see earlier ones through `map`, so that many
 * commands share one epoch.
 *
 * Invariant 1: `map` is `base` with `incremental` applied, except for its epoch's time stamp.
 */
import type { Epoch, OsdId, PgId, PoolId } from '@shoal/base'
import { parsePgId } from '@shoal/base'
import {
  applyIncremental,
  cleanUpmaps,
  type OsdFlag,
  type OsdInfo,
  type OsdMap,
  type OsdMapIncremental,
  type Pool,
  type UpmapItem,
} from '@shoal/cluster-map'
import type { CrushMap } from '@shoal/crush'

type EntryField =
  | 'osds'
  | 'pools'
  | 'pgTemp'
  | 'upmap'
  | 'upmapItems'
  | 'upmapPrimaries'
  | 'blocklist'
  | 'erasureProfiles'
type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export class OsdMapChange {
  readonly base: OsdMap
  readonly epoch: Epoch
  private fields: Mutable<OsdMapIncremental>
  private preview: OsdMap | undefined

  constructor(base: OsdMap) {
    this.base = base
    this.epoch = (base.epoch + 1) as Epoch
    this.fields = { fsid: base.fsid, epoch: this.epoch, modifiedMs: base.modifiedMs }
    this.preview = base
  }

  get empty(): boolean {
    return Object.keys(this.fields).length === 3
  }

  get map(): OsdMap {
    this.preview ??= applyIncremental(this.base, this.fields)
    return this.preview
  }

  /** What a failed mutation must take back. */
  checkpoint(): () => void {
    const fields = { ...this.fields }
    const preview = this.preview
    return () => {
      this.fields = fields
      this.preview = preview
    }
  }

  setOsd(osd: OsdInfo): void {
    this.set('osds', osd.id, osd)
  }

  updateOsd(osd: OsdInfo, fields: Partial<OsdInfo>): OsdInfo {
    const updated = { ...osd, ...fields }
    this.setOsd(updated)
    return updated
  }

  removeOsd(id: OsdId): void {
    this.set('osds', id, null)
  }

  setPool(pool: Pool): void {
    this.set('pools', pool.id, pool)
    if (pool.id > this.map.poolIdMax) this.assign('poolIdMax', pool.id)
  }

  removePool(id: PoolId): void {
    this.set('pools', id, null)
  }

  setCrush(crush: CrushMap): void {
    this.assign('crush', crush)
  }

  setFlags(flags: ReadonlySet<OsdFlag>): void {
    this.assign('flags', flags)
  }

  setErasureProfile(name: string, words: readonly string[] | null): void {
    this.set('erasureProfiles', name, words)
  }

  setRatios(ratios: NonNullable<OsdMapIncremental['ratios']>): void {
    this.assign('ratios', ratios)
  }

  setRequiredFeatures(features: number): void {
    this.assign('requiredFeatures', features)
  }

  setPgTemp(pgId: PgId, osds: readonly OsdId[] | null): void {
    this.set('pgTemp', pgId, osds)
  }

  setUpmap(pgId: PgId, osds: readonly OsdId[] | null): void {
    this.set('upmap', pgId, osds)
  }

  setUpmapItems(pgId: PgId, items: readonly UpmapItem[] | null): void {
    this.set('upmapItems', pgId, items)
  }

  setUpmapPrimary(pgId: PgId, osd: OsdId | null): void {
    this.set('upmapPrimaries', pgId, osd)
  }

  setBlocklist(session: string, untilMs: number | null): void {
    this.set('blocklist', session, untilMs)
  }

  /** Drops what points to removed pools or to nobody who is up, and exceptions that are void; and stamps. */
  finish(modifiedMs: number): OsdMapIncremental {
    const { map } = this
    const gone = (pgId: PgId) => {
      const id = parsePgId(pgId)
      return id === undefined || !map.pools.has(id.pool)
    }
    for (const [pgId, osds] of map.pgTemp) {
      if (gone(pgId) || !osds.some((id) => map.osds.get(id)?.up === true)) this.setPgTemp(pgId, null)
    }
    if (this.mayVoidUpmaps()) this.cleanUpmaps()
    return { ...this.fields, modifiedMs }
  }

  /** Whether something changed that exceptions depend on: most changes (up_thru, pg_temp) cannot void any. */
  private mayVoidUpmaps(): boolean {
    const { map, base, fields } = this
    if (map.upmap.size === 0 && map.upmapItems.size === 0 && map.upmapPrimaries === undefined) return false
    const { crush, pools, upmap, upmapItems, upmapPrimaries } = fields
    if ((crush ?? pools ?? upmap ?? upmapItems ?? upmapPrimaries) !== undefined) return true
    return [...(fields.osds ?? [])].some(([id, osd]) => {
      const before = base.osds.get(id)
      return osd?.weight !== before?.weight || osd?.primaryAffinity !== before?.primaryAffinity
    })
  }

  private cleanUpmaps(): void {
    const { upmap, upmapItems, upmapPrimaries } = cleanUpmaps(this.map)
    for (const pgId of upmap) this.setUpmap(pgId, null)
    for (const [pgId, items] of upmapItems) this.setUpmapItems(pgId, items)
    for (const pgId of upmapPrimaries) this.setUpmapPrimary(pgId, null)
  }

  private set(field: EntryField, key: unknown, value: unknown): void {
    const entries = new Map(this.fields[field] as ReadonlyMap<unknown, unknown> | undefined)
    entries.set(key, value)
    this.fields = { ...this.fields, [field]: entries }
    this.preview = undefined
  }

  private assign<Field extends keyof OsdMapIncremental>(
    field: Field,
    value: NonNullable<OsdMapIncremental[Field]>,
  ): void {
    this.fields = { ...this.fields, [field]: value }
    this.preview = undefined
  }
}
