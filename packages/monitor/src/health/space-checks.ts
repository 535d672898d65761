/** Checks of space: OSDs by the ratios of the map, pools by their quotas and by the OSDs that they lie on. */
import { type PoolId, pgPool } from '@shoal/base'
import { type Pool, poolQuotaOf } from '@shoal/cluster-map'
import type { ClusterView } from '../commands/command.ts'
import { poolStats } from '../commands/pool-rows.ts'
import { type CheckRow, count, type Finding, firstOf, statsOf } from './health-check.ts'

/** OSDs whose use lies from one ratio up to the next. */
function fullness(
  code: string,
  severity: Finding['severity'],
  word: string,
  range: (view: ClusterView) => [number, number],
): CheckRow {
  return {
    code,
    check(view) {
      const [from, to] = range(view)
      const found = statsOf(view, (stats) => {
        const used = stats.totalBytes === 0 ? 0 : stats.usedBytes / stats.totalBytes
        return used >= from && used < to
      })
      if (found.length === 0) return undefined
      return {
        severity,
        count: found.length,
        summary: count(found.length, `${word} osd`),
        detail: firstOf(
          found.map((stats) => `osd.${stats.osd} is ${((100 * stats.usedBytes) / stats.totalBytes).toFixed(1)} % full`),
        ),
        mend: 'add OSDs (shoal osd add) or remove data',
      }
    },
  }
}

/** Pools with PGs in a state. */
function stopped(code: string, state: 'backfill_toofull' | 'recovery_toofull', what: string): CheckRow {
  return {
    code,
    check(view) {
      const rows = view.isLeader ? [...view.statistics.rows(view.map)].filter((row) => row.states.includes(state)) : []
      if (rows.length === 0) return undefined
      return {
        severity: 'warning',
        count: rows.length,
        summary: `Low space hindering ${what} (add storage if this does not go away): ${count(rows.length, 'pg')} ${state}`,
        detail: firstOf(rows.map((row) => `pg ${row.pgId} is ${row.states.join('+')}`)),
        mend: 'add OSDs (shoal osd add), remove data, or shoal osd set-backfillfull-ratio',
      }
    },
  }
}

interface QuotaUse {
  readonly pool: Pool
  /** Of the limit that is nearer. */
  readonly share: number
  readonly words: string
  readonly isFull: boolean
}

function quotaUses(view: ClusterView): readonly QuotaUse[] {
  if (!view.isLeader) return []
  return [...view.map.pools.values()].flatMap((pool) => {
    const quota = poolQuotaOf(pool)
    if (quota === undefined) return []
    const { bytes, objects } = poolStats(pool, view)
    const ofBytes = quota.maxBytes === 0 ? 0 : bytes / quota.maxBytes
    const ofObjects = quota.maxObjects === 0 ? 0 : objects / quota.maxObjects
    const share = Math.max(ofBytes, ofObjects)
    const words =
      ofBytes >= ofObjects ? `${bytes} of ${quota.maxBytes} bytes` : `${objects} of ${quota.maxObjects} objects`
    return [{ pool, share, words, isFull: share >= 1 || view.quotas?.isFull(pool.id) === true }]
  })
}

/** Pools that are full, by quota or by an OSD that is. */
function poolsFull(view: ClusterView): Finding | undefined {
  const byQuota = quotaUses(view).filter(({ isFull }) => isFull)
  const byOsd = poolsOnFullOsds(view)
  const names = new Set([...byQuota.map(({ pool }) => pool.name), ...byOsd.values()])
  if (names.size === 0) return undefined
  return {
    severity: byOsd.size > 0 ? 'error' : 'warning',
    count: names.size,
    summary: `${count(names.size, 'pool')} full`,
    detail: firstOf([
      ...byQuota.map(({ pool, words }) => `pool ${pool.name} is full (its quota is reached: ${words})`),
      ...[...byOsd.values()].map((name) => `pool ${name} is full (an OSD that it lies on is)`),
    ]),
    mend:
      byQuota.length > 0
        ? `remove objects, or shoal pool set-quota ${byQuota[0]?.pool.name} max_bytes|max_objects N`
        : 'add OSDs (shoal osd add) or remove data',
  }
}

function poolsOnFullOsds(view: ClusterView): ReadonlyMap<PoolId, string> {
  const full = statsOf(
    view,
    (stats) => stats.totalBytes > 0 && stats.usedBytes / stats.totalBytes >= view.map.fullRatio,
  )
  const found = new Map<PoolId, string>()
  for (const { osd } of full) {
    for (const pgId of view.placement().pgsOf(osd)) {
      const pool = view.map.pools.get(pgPool(pgId))
      if (pool !== undefined) found.set(pool.id, pool.name)
    }
  }
  return found
}

function poolsNearFull(view: ClusterView): Finding | undefined {
  const near = quotaUses(view).filter(({ share, isFull }) => !isFull && share >= view.map.nearfullRatio)
  if (near.length === 0) return undefined
  return {
    severity: 'warning',
    count: near.length,
    summary: `${count(near.length, 'pool')} nearfull`,
    detail: firstOf(
      near.map(
        ({ pool, share, words }) => `pool ${pool.name} is at ${(100 * share).toFixed(1)} % of its quota: ${words}`,
      ),
    ),
    mend: `remove objects, or shoal pool set-quota ${near[0]?.pool.name} max_bytes|max_objects N`,
  }
}

export const spaceChecks: readonly CheckRow[] = [
  fullness('OSD_FULL', 'error', 'full', ({ map }) => [map.fullRatio, Number.POSITIVE_INFINITY]),
  fullness('OSD_BACKFILLFULL', 'warning', 'backfillfull', ({ map }) => [map.backfillfullRatio, map.fullRatio]),
  fullness('OSD_NEARFULL', 'warning', 'nearfull', ({ map }) => [map.nearfullRatio, map.backfillfullRatio]),
  stopped('PG_BACKFILL_FULL', 'backfill_toofull', 'backfill'),
  stopped('PG_RECOVERY_FULL', 'recovery_toofull', 'recovery'),
  { code: 'POOL_FULL', check: poolsFull },
  { code: 'POOL_NEARFULL', check: poolsNearFull },
]
