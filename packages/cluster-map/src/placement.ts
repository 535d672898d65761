/**
 * Where things live, in the steps of Ceph's OSDMap: name -> hash -> PG seed -> CRUSH input -> raw -> upmap -> up ->
 * primary affinity -> acting. The same map gives the same OSDs as `osdmaptool`, bit for bit.
 *
 * Raw: what CRUSH chose, without OSDs that do not exist. Up: raw with exceptions (upmap) applied and down OSDs dropped.
 * Acting: up, unless `pg_temp` says otherwise. Sets of replicated pools close their gaps, erasure-coded ones keep holes.
 */
import { ClusterError, type OsdId, type PgId, type PoolId, parsePgId, pgId, utf8Encode } from '@shoal/base'
import { CrushMapper, hash2, stableMod, stableModMask, strHashRjenkins } from '@shoal/crush'
import { noOsd, noPrimary, type OsdMap, type PgMapping, type Pool, type UpmapItem, weightOne } from './osd-map.ts'

const namespaceSeparator = '\u001F'

/** Of names that were hashed lately: the same object is asked for again and again. */
const hashes = new Map<string, number>()
const hashesMax = 4096

/** The rjenkins hash that places an object: the name, with its namespace in front where there is one. */
export function hashObjectName(namespace: string, name: string): number {
  const text = namespace === '' ? name : `${namespace}${namespaceSeparator}${name}`
  let hash = hashes.get(text)
  if (hash === undefined) {
    hash = strHashRjenkins(utf8Encode(text))
    if (hashes.size >= hashesMax) hashes.clear()
    hashes.set(text, hash)
  }
  return hash
}

export interface ObjectPlacement {
  readonly pgId: PgId
  readonly hash: number
}

/** The PG of an object. ENOENT when there is no such pool. */
export function placeObject(map: OsdMap, pool: PoolId, namespace: string, name: string): ObjectPlacement {
  const found = map.pools.get(pool)
  if (found === undefined) throw new ClusterError('ENOENT', `pool ${pool} does not exist`, { hint: 'shoal pool ls' })
  const hash = hashObjectName(namespace, name)
  return { pgId: pgId(pool, seedOfHash(found, hash)), hash }
}

/** The PG seed that a name hash falls to. */
export function seedOfHash(pool: Pick<Pool, 'pgNum'>, hash: number): number {
  return stableMod(hash, pool.pgNum, stableModMask(pool.pgNum))
}

/**
 * Which PGs a PG's objects go to when its pool grows from `oldNum` PGs to `newNum`, itself left out (Ceph: pg_t::is_split):
 * the new seeds that folded to this one before.
 */
export function splitSeeds(seed: number, oldNum: number, newNum: number): readonly number[] {
  const mask = stableModMask(oldNum)
  const seeds: number[] = []
  for (let one = oldNum; one < newNum; one++) if (stableMod(one, oldNum, mask) === seed) seeds.push(one)
  return seeds
}

export function poolByName(map: OsdMap, name: string): Pool | undefined {
  for (const pool of map.pools.values()) if (pool.name === name) return pool
  return undefined
}

/** All PGs of a pool. */
export function pgIdsOf(pool: Pool): readonly PgId[] {
  return Array.from({ length: pool.pgNum }, (_, seed) => pgId(pool.id, seed))
}

/** CRUSH's input for a PG (Ceph's pps): the pool is mixed in so that pools do not share their sets. */
function placementSeed(pool: Pool, seed: number): number {
  const folded = stableMod(seed, pool.pgpNum, stableModMask(pool.pgpNum))
  return pool.hashPool ? hash2(folded, pool.id) : (folded + pool.id) >>> 0
}

/** Maps PGs under one epoch; each answer is computed once. Make a new one for each map. */
export class PlacementCache {
  readonly map: OsdMap
  private mapper: CrushMapper | undefined
  private weights: Uint32Array | undefined
  private readonly mappings = new Map<PgId, PgMapping>()

  /** `previous`: the cache of an earlier map, whose compiled CRUSH map is used again if it is still the same. */
  constructor(map: OsdMap, previous?: PlacementCache) {
    this.map = map
    if (previous?.map.crush === map.crush) this.mapper = previous.mapper
  }

  /** ENOENT when the pool or the PG does not exist. */
  mapping(id: PgId): PgMapping {
    let mapping = this.mappings.get(id)
    if (mapping === undefined) {
      mapping = this.compute(id)
      this.mappings.set(id, mapping)
    }
    return mapping
  }

  /** The PGs whose up or acting set has this OSD. */
  pgsOf(osd: OsdId): readonly PgId[] {
    const found: PgId[] = []
    for (const pool of this.map.pools.values()) {
      for (const id of pgIdsOf(pool)) {
        const { up, acting } = this.mapping(id)
        if (up.includes(osd) || acting.includes(osd)) found.push(id)
      }
    }
    return found
  }

  /** What CRUSH says, before upmap and before anybody's state counts. */
  raw(id: PgId): readonly OsdId[] {
    const { pool, seed } = this.find(id)
    return this.rawOf(pool, placementSeed(pool, seed))
  }

  /** The raw set with its exceptions: where the data belongs, whether or not everybody there is up. */
  placed(id: PgId): readonly OsdId[] {
    return this.applyUpmap(id, [...this.raw(id)])
  }

  /**
   * Of the members where the data belongs, those that an exception (upmap primary) can make the primary while all are up,
   * whom CRUSH would have first in front; empty where exceptions of this kind do not count. Affinity decides over exceptions:
   * who does not take the PG by its affinity is in only where nobody does, and never with an affinity of 0.
   */
  primaryCandidates(id: PgId): readonly OsdId[] {
    const { pool, seed } = this.find(id)
    if (pool.type !== 'replicated') return []
    const input = placementSeed(pool, seed)
    const members = this.placed(id)
    const willing = members.filter((osd) => this.takesPrimary(input, osd))
    return willing.length > 0 ? willing : members.filter((osd) => this.affinity(osd) > 0)
  }

  /** Who is primary while everybody of the set is up, with this exception or, when undefined, without any. */
  placedPrimary(id: PgId, exception: OsdId | undefined): OsdId {
    const { pool, seed } = this.find(id)
    return this.applyPrimaryAffinity(pool, placementSeed(pool, seed), this.toFront(pool, this.placed(id), exception))
  }

  private find(id: PgId): { readonly pool: Pool; readonly seed: number } {
    const parsed = parsePgId(id)
    const pool = parsed === undefined ? undefined : this.map.pools.get(parsed.pool)
    if (parsed === undefined || pool === undefined || parsed.seed >= pool.pgNum) {
      throw new ClusterError('ENOENT', `placement group ${id} does not exist`, { hint: 'shoal pg ls' })
    }
    return { pool, seed: parsed.seed }
  }

  private compute(id: PgId): PgMapping {
    const { pool, seed } = this.find(id)
    const input = placementSeed(pool, seed)
    const placed = this.applyUpmap(id, this.rawOf(pool, input))
    const up = this.dropDown(pool, this.toFront(pool, placed, this.map.upmapPrimaries?.get(id)))
    const upPrimary = this.applyPrimaryAffinity(pool, input, up)
    const temporary = this.dropDown(pool, this.map.pgTemp.get(id) ?? [])
    const temporaryPrimary = this.map.primaryTemp.get(id) ?? firstOsd(temporary)
    return temporary.every((osd) => osd === noOsd)
      ? { up, upPrimary, acting: up, actingPrimary: temporaryPrimary === noPrimary ? upPrimary : temporaryPrimary }
      : { up, upPrimary, acting: temporary, actingPrimary: temporaryPrimary }
  }

  private rawOf(pool: Pool, input: number): OsdId[] {
    this.mapper ??= new CrushMapper(this.map.crush)
    this.weights ??= this.reweights()
    const chosen = this.mapper.map(pool.crushRule, input, pool.size, this.weights, pool.id) as OsdId[]
    return this.keep(pool, chosen, (osd) => this.map.osds.has(osd))
  }

  private reweights(): Uint32Array {
    const weights = new Uint32Array(Math.max(0, ...this.map.osds.keys()) + 1)
    for (const osd of this.map.osds.values()) weights[osd.id] = osd.weight
    return weights
  }

  /** Keeps the members that qualify: the others close up, or leave holes in an erasure-coded set. */
  private keep(pool: Pool, osds: readonly OsdId[], qualifies: (osd: OsdId) => boolean): OsdId[] {
    if (pool.type === 'replicated') return osds.filter((osd) => osd !== noOsd && qualifies(osd))
    return osds.map((osd) => (osd !== noOsd && qualifies(osd) ? osd : noOsd))
  }

  private dropDown(pool: Pool, osds: readonly OsdId[]): OsdId[] {
    return this.keep(pool, osds, (osd) => this.map.osds.get(osd)?.up === true)
  }

  private applyUpmap(id: PgId, raw: OsdId[]): readonly OsdId[] {
    const whole = this.map.upmap.get(id)
    // An explicit set with an out member is void, and so are the items.
    if (whole?.some((osd) => isOut(this.map, osd)) === true) return raw
    return applyUpmapItems(this.map, whole ?? raw, this.map.upmapItems.get(id) ?? [])
  }

  /**
   * Ceph's pg_upmap_primaries: the OSD changes places with the first, if it is a member and in. Which place a shard has
   * says which shard it is, so nothing moves in an erasure-coded set.
   */
  private toFront(pool: Pool, set: readonly OsdId[], osd: OsdId | undefined): OsdId[] {
    const swapped = [...set]
    const at = osd === undefined || isOut(this.map, osd) ? -1 : set.indexOf(osd)
    if (pool.type !== 'replicated' || at <= 0) return swapped
    swapped[at] = set[0] as OsdId
    swapped[0] = osd as OsdId
    return swapped
  }

  private affinity(osd: OsdId): number {
    return this.map.osds.get(osd)?.primaryAffinity ?? weightOne
  }

  /** Whether it is a PG that the OSD is primary of by its affinity: all with 1, none with 0. */
  private takesPrimary(input: number, osd: OsdId): boolean {
    const share = this.affinity(osd)
    return share >= weightOne || hash2(input, osd) >>> 16 < share
  }

  /** Picks the primary; in a replicated set it moves to the front of `up`. */
  private applyPrimaryAffinity(pool: Pool, input: number, up: OsdId[]): OsdId {
    if (!up.some((osd) => osd !== noOsd && this.affinity(osd) !== weightOne)) return firstOsd(up)
    let chosen = -1
    for (let at = 0; at < up.length; at++) {
      const osd = up[at] as OsdId
      if (osd === noOsd) continue
      if (this.takesPrimary(input, osd)) {
        chosen = at
        break
      }
      // Not this one, unless there is no other.
      if (chosen < 0) chosen = at
    }
    if (chosen < 0) return firstOsd(up)
    const primary = up[chosen] as OsdId
    if (pool.type === 'replicated' && chosen > 0) {
      up.splice(chosen, 1)
      up.unshift(primary)
    }
    return primary
  }
}

function isOut(map: OsdMap, osd: OsdId): boolean {
  return osd !== noOsd && map.osds.get(osd)?.weight === 0
}

/** One exchange after the other. One whose target is a member already, or out, does nothing. */
export function applyUpmapItems(map: OsdMap, osds: readonly OsdId[], items: readonly UpmapItem[]): readonly OsdId[] {
  let mapped: OsdId[] | undefined
  for (const { from, to } of items) {
    const now = mapped ?? osds
    if (now.includes(to) || isOut(map, to)) continue
    const at = now.indexOf(from)
    if (at < 0) continue
    mapped ??= [...osds]
    mapped[at] = to
  }
  return mapped ?? [...osds]
}

function firstOsd(osds: readonly OsdId[]): OsdId {
  return osds.find((osd) => osd !== noOsd) ?? noPrimary
}
