/**
 * The monitors, reduced to one that never fails: makes epochs from boots, failures, up_thru and pg_temp requests, and
 * places one placement group by a fixed order of preference instead of CRUSH.
 */
import { type Epoch, type OsdId, osdId, type PgId, pgId, poolId } from '@shoal/base'
import {
  applyIncremental,
  noPrimary,
  type OsdInfo,
  type OsdMap,
  type OsdMapIncremental,
  type PgMapping,
  type Pool,
  weightOne,
} from '@shoal/cluster-map'

export const simulatedPool: ReturnType<typeof poolId> = poolId(1)
export const simulatedPg: PgId = pgId(simulatedPool, 0)
const poolCreated = 2 as Epoch

export interface MapAuthorityOptions {
  readonly osds: number
  readonly size: number
  readonly minSize: number
  readonly onEpoch: (map: OsdMap) => void
}

export class MapAuthority {
  /** By epoch; index 0 is the empty map. */
  readonly maps: OsdMap[] = []
  private readonly options: MapAuthorityOptions

  constructor(options: MapAuthorityOptions) {
    this.options = options
    const empty: OsdMap = {
      fsid: 'simulated',
      epoch: 0 as Epoch,
      createdMs: 0,
      modifiedMs: 0,
      flags: new Set(),
      osds: new Map(),
      pools: new Map(),
      poolIdMax: 0,
      crush: {} as OsdMap['crush'],
      pgTemp: new Map(),
      primaryTemp: new Map(),
      upmap: new Map(),
      upmapItems: new Map(),
      blocklist: new Map(),
      nearfullRatio: 0.85,
      backfillfullRatio: 0.9,
      fullRatio: 0.95,
      requiredFeatures: 0,
    }
    this.maps.push(empty)
    const osds = Array.from({ length: options.osds }, (_, id) => newOsd(osdId(id), 1 as Epoch))
    this.commit({ osds: new Map(osds.map((osd) => [osd.id, osd])) })
    this.commit({ pools: new Map([[simulatedPool, newPool(options.size, options.minSize)]]) })
  }

  get map(): OsdMap {
    return this.maps.at(-1) as OsdMap
  }

  mapAt(epoch: Epoch): OsdMap {
    return this.maps[epoch] as OsdMap
  }

  private osd(id: OsdId): OsdInfo {
    return this.map.osds.get(id) as OsdInfo
  }

  private change(id: OsdId, change: Partial<OsdInfo>): void {
    this.commit({ osds: new Map([[id, { ...this.osd(id), ...change }]]) })
  }

  private get nextEpoch(): Epoch {
    return (this.map.epoch + 1) as Epoch
  }

  markDown(id: OsdId): void {
    if (this.osd(id).up) this.change(id, { up: false, downAt: this.nextEpoch })
  }

  boot(id: OsdId, incarnation: number): void {
    if (this.osd(id).up && this.osd(id).incarnation === incarnation) return
    this.markDown(id)
    this.change(id, { up: true, upFrom: this.nextEpoch, incarnation })
  }

  setWeight(id: OsdId, weight: number): void {
    if (this.osd(id).weight !== weight) this.change(id, { weight })
  }

  raiseUpThru(id: OsdId, epoch: Epoch): void {
    const osd = this.osd(id)
    if (osd.up && osd.upThru < epoch) this.change(id, { upThru: this.map.epoch })
  }

  setPgTemp(from: OsdId, osds: readonly OsdId[]): void {
    if (!this.osd(from).up) return
    const before = this.map.pgTemp.get(simulatedPg) ?? []
    const { up } = placeSimulated(this.map)
    const wanted = sameOsds(osds, up) ? [] : osds
    if (sameOsds(before, wanted)) return
    this.commit({ pgTemp: new Map([[simulatedPg, wanted.length === 0 ? null : wanted]]) })
  }

  setMinSize(minSize: number): void {
    const pool = this.map.pools.get(simulatedPool) as Pool
    if (pool.minSize === minSize) return
    this.commit({ pools: new Map([[simulatedPool, { ...pool, minSize, lastChange: this.nextEpoch }]]) })
  }

  private commit(changes: Omit<OsdMapIncremental, 'fsid' | 'epoch' | 'modifiedMs'>): void {
    const incremental = { fsid: 'simulated', epoch: this.nextEpoch, modifiedMs: 0, ...changes }
    let map = applyIncremental(this.map, incremental)
    const temporary = map.pgTemp.get(simulatedPg)
    // As the monitors do: an entry that says nothing, or whose members are all gone, is dropped.
    const { up } = placeSimulated({ ...map, pgTemp: new Map() })
    if (
      temporary !== undefined &&
      (sameOsds(temporary, up) || temporary.every((osd) => map.osds.get(osd)?.up !== true))
    ) {
      map = { ...map, pgTemp: new Map() }
    }
    this.maps.push(map)
    this.options.onEpoch(map)
  }
}

export const nowhere: PgMapping = { up: [], upPrimary: noPrimary, acting: [], actingPrimary: noPrimary }

/** Preference by OSD id, so that marking an OSD out moves the PG and marking it in moves it back. */
export function placeSimulated(map: OsdMap): PgMapping {
  const pool = map.pools.get(simulatedPool)
  if (pool === undefined) return nowhere
  const raw = [...map.osds.values()].filter((osd) => osd.weight > 0).slice(0, pool.size)
  const up = raw.filter((osd) => osd.up).map((osd) => osd.id)
  const temporary = (map.pgTemp.get(simulatedPg) ?? []).filter((osd) => map.osds.get(osd)?.up === true)
  const acting = temporary.length > 0 ? temporary : up
  return { up, upPrimary: up[0] ?? noPrimary, acting, actingPrimary: acting[0] ?? noPrimary }
}

function sameOsds(a: readonly OsdId[], b: readonly OsdId[]): boolean {
  return a.length === b.length && a.every((osd, at) => osd === b[at])
}

export function newOsd(id: OsdId, upFrom: Epoch): OsdInfo {
  const none = 0 as Epoch
  return {
    id,
    uuid: `osd-${id}`,
    up: true,
    weight: weightOne,
    autoOut: false,
    primaryAffinity: weightOne,
    addresses: undefined,
    incarnation: 1,
    upFrom,
    upThru: none,
    downAt: none,
    lostAt: none,
    lastCleanBegin: none,
    lastCleanEnd: none,
    features: 0,
    deviceClass: undefined,
  }
}

function newPool(size: number, minSize: number): Pool {
  return {
    id: simulatedPool,
    name: 'simulated',
    type: 'replicated',
    size,
    minSize,
    pgNum: 1,
    pgpNum: 1,
    crushRule: 0,
    hashPool: true,
    created: poolCreated,
    lastChange: poolCreated,
    applications: [],
    options: new Map(),
  }
}
