/** Checks of placement groups and slowness: from statistics, which only the leader has. */
import { pgPool } from '@shoal/base'
import { noOsd, type PgState } from '@shoal/cluster-map'
import type { AutoscaleRow } from '@shoal/monitor-client'
import type { ClusterView } from '../commands/command.ts'
import { autoscaleRows } from '../services/pg-autoscaler.ts'
import { pgRows } from '../services/pg-rows.ts'
import type { PgSummaryRow } from '../services/statistics.ts'
import { type CheckRow, count, type Finding, firstOf, statsOf } from './health-check.ts'
import { spaceChecks } from './space-checks.ts'

function pgsWhere(view: ClusterView, holds: (row: PgSummaryRow) => boolean): readonly PgSummaryRow[] {
  return view.isLeader ? [...pgRows(view)].filter(holds) : []
}

function pgLines(rows: readonly PgSummaryRow[]): readonly string[] {
  return firstOf(
    rows.map((row) => `pg ${row.pgId} is ${row.states.join('+')}, acting [${row.stats?.acting.join(',') ?? ''}]`),
  )
}

const isActive = (states: readonly PgState[]) => states.includes('active') && !states.includes('stale')

function unavailable(view: ClusterView): Finding | undefined {
  const rows = pgsWhere(view, (row) => !isActive(row.states))
  if (rows.length === 0) return undefined
  const words = new Map<string, number>()
  for (const row of rows) {
    const word = row.states.find((state) => state !== 'active' && state !== 'clean') ?? 'inactive'
    words.set(word, (words.get(word) ?? 0) + 1)
  }
  const summary = [...words].map(([word, number]) => `${count(number, 'pg')} ${word}`).join(', ')
  return {
    severity: 'warning',
    count: rows.length,
    summary: `Reduced data availability: ${summary}`,
    detail: pgLines(rows),
    mend: `bring down OSDs back (shoal osd tree); shoal pg query PG says what it waits for${orServeWithFewer(view, rows)}`,
  }
}

/** A group that knows everything and waits for `min_size` may serve with what is left, if an operator wants that. */
function orServeWithFewer(view: ClusterView, rows: readonly PgSummaryRow[]): string {
  const [first] = rows.filter((row) => row.states.includes('peered'))
  const pool = first === undefined ? undefined : view.map.pools.get(pgPool(first.pgId))
  const members = first?.stats?.acting.filter((osd) => osd !== noOsd).length ?? 0
  if (pool === undefined || members === 0 || members >= pool.minSize) return ''
  return `; until then it serves with the ${members} members that are left after: shoal pool set ${pool.name} min_size ${members}`
}

function degraded(view: ClusterView): Finding | undefined {
  const rows = pgsWhere(view, (row) => row.states.includes('degraded') || row.states.includes('undersized'))
  if (rows.length === 0) return undefined
  const copies = rows.reduce((sum, row) => sum + (row.stats?.degradedCopies ?? 0), 0)
  const undersized = rows.filter((row) => row.states.includes('undersized')).length
  const more = undersized === 0 ? '' : `, ${count(undersized, 'pg')} undersized`
  return {
    severity: 'warning',
    count: rows.length,
    summary: `Degraded data redundancy: ${copies} copies missing, ${count(rows.length, 'pg')} degraded${more}`,
    detail: pgLines(rows),
    mend: 'recovery mends it by itself while enough OSDs are up (shoal osd tree, shoal status)',
  }
}

function misplaced(view: ClusterView): Finding | undefined {
  const rows = pgsWhere(view, (row) => (row.stats?.misplacedCopies ?? 0) > 0)
  if (rows.length === 0 || !view.map.flags.has('norebalance')) return undefined
  const copies = rows.reduce((sum, row) => sum + (row.stats?.misplacedCopies ?? 0), 0)
  return {
    severity: 'warning',
    count: rows.length,
    summary: `${copies} copies misplaced, and norebalance is set`,
    detail: pgLines(rows),
    mend: 'shoal osd unset norebalance',
  }
}

function unfound(view: ClusterView): Finding | undefined {
  const rows = pgsWhere(view, (row) => (row.stats?.unfoundObjects ?? 0) > 0)
  if (rows.length === 0) return undefined
  const objects = rows.reduce((sum, row) => sum + (row.stats?.unfoundObjects ?? 0), 0)
  return {
    severity: 'error',
    count: objects,
    summary: `${count(objects, 'object')} unfound`,
    detail: firstOf(rows.map((row) => `pg ${row.pgId} has ${count(row.stats?.unfoundObjects ?? 0, 'unfound object')}`)),
    mend: `bring back the OSDs that held them: shoal pg list-unfound ${rows[0]?.pgId} names them`,
  }
}

/** What a PG says about damage. */
function damaged(view: ClusterView): Finding | undefined {
  const incomplete = pgsWhere(view, (row) => row.states.includes('incomplete'))
  const inconsistent = pgsWhere(view, (row) => row.states.includes('inconsistent'))
  const words: string[] = []
  const mend: string[] = []
  if (incomplete.length > 0) {
    words.push(`${count(incomplete.length, 'pg')} incomplete`)
    mend.push('bring back the OSDs that served last: shoal pg query PG names them')
  }
  if (inconsistent.length > 0) {
    words.push(`${count(inconsistent.length, 'pg')} inconsistent`)
    const pg = inconsistent[0]?.pgId
    mend.push(`shoal pg list-inconsistent ${pg} says what differs; shoal pg repair ${pg} replaces the bad copies`)
  }
  if (words.length === 0) return undefined
  return {
    severity: 'error',
    count: incomplete.length + inconsistent.length,
    summary: `Possible data damage: ${words.join(', ')}`,
    detail: pgLines([...incomplete, ...inconsistent]),
    mend: mend.join('; '),
  }
}

function scrubErrors(view: ClusterView): Finding | undefined {
  const rows = pgsWhere(view, (row) => (row.stats?.scrubErrors ?? 0) > 0)
  if (rows.length === 0) return undefined
  const errors = rows.reduce((sum, row) => sum + (row.stats?.scrubErrors ?? 0), 0)
  return {
    severity: 'error',
    count: errors,
    summary: count(errors, 'scrub error'),
    detail: firstOf(rows.map((row) => `pg ${row.pgId} has ${count(row.stats?.scrubErrors ?? 0, 'scrub error')}`)),
    mend: `shoal pg list-inconsistent ${rows[0]?.pgId}`,
  }
}

/** Groups whose last scrub, deep or not, is too long ago. One that nobody scrubs since its OSDs are away says so otherwise. */
function notScrubbed(
  code: string,
  words: string,
  command: string,
  stampOf: (row: PgSummaryRow) => number,
  secondsOf: (view: ClusterView) => number,
): CheckRow {
  return {
    code,
    check(view) {
      const seconds = secondsOf(view)
      const late = pgsWhere(view, (row) => stampOf(row) > 0 && view.wallMs - stampOf(row) > seconds * 1_000)
      if (late.length === 0) return undefined
      return {
        severity: 'warning',
        count: late.length,
        summary: `${count(late.length, 'pg')} not ${words} in time`,
        detail: firstOf(late.map((row) => `pg ${row.pgId} not ${words} since ${new Date(stampOf(row)).toISOString()}`)),
        mend: `shoal pg ${command} ${late[0]?.pgId}; see whether a flag holds scrubs back (shoal status)`,
      }
    },
  }
}

function slowOps(view: ClusterView): Finding | undefined {
  const slow = statsOf(view, (stats) => stats.slowOps > 0)
  if (slow.length === 0) return undefined
  return {
    severity: 'warning',
    count: slow.length,
    summary: `${slow.reduce((sum, stats) => sum + stats.slowOps, 0)} slow ops on ${count(slow.length, 'osd')}`,
    detail: firstOf(slow.map((stats) => `osd.${stats.osd} has ${count(stats.slowOps, 'slow op')}`)),
    mend: slow
      .slice(0, 3)
      .map((stats) => `shoal daemon ops osd.${stats.osd}`)
      .join('; '),
  }
}

function repaired(view: ClusterView): Finding | undefined {
  const bad = statsOf(view, (stats) => stats.checksumErrors > 0)
  if (bad.length === 0) return undefined
  return {
    severity: 'warning',
    count: bad.length,
    summary: `${count(bad.length, 'osd')} returned bad blocks, which were mended from other copies`,
    detail: firstOf(
      bad.map(
        (stats) => `osd.${stats.osd}: ${stats.checksumErrors} checksum errors, ${stats.repairedBlocks} blocks mended`,
      ),
    ),
    mend: `check the disk; to move its data: shoal osd out ${bad[0]?.osd}`,
  }
}

/** PG copies per OSD that is in. */
function pgsPerOsd(view: ClusterView): number {
  const osds = [...view.map.osds.values()].filter((osd) => osd.weight > 0).length
  let copies = 0
  for (const pool of view.map.pools.values()) copies += pool.pgNum * pool.size
  return osds === 0 ? 0 : copies / osds
}

function tooManyPgs(view: ClusterView): Finding | undefined {
  const perOsd = pgsPerOsd(view)
  const limit = view.settings.mon_max_pg_per_osd
  if (perOsd <= limit) return undefined
  return {
    severity: 'warning',
    summary: `too many PGs per OSD (${Math.round(perOsd)} > max ${limit})`,
    detail: [],
    mend: 'add OSDs (shoal osd add) or remove pools (shoal pool ls)',
  }
}

/** What the autoscaler of pools that ask for it finds, and does not mend by itself. */
function autoscaled(view: ClusterView, verdict: AutoscaleRow['verdict'], words: string): Finding | undefined {
  const found = autoscaleRows(view).filter((row) => row.mode !== 'off' && row.verdict === verdict)
  // Those that grow by themselves are no trouble.
  const rows = found.filter((row) => row.mode === 'warn' || verdict === 'too-many')
  const [first] = rows
  if (first === undefined) return undefined
  return {
    severity: 'warning',
    summary: `${count(rows.length, 'pool')} ${words}`,
    detail: rows.map((row) => `pool ${row.name}: ${row.pgNum} PGs, should have ${row.wanted}`),
    mend:
      verdict === 'too-few'
        ? `shoal pool set ${first.name} pg_num ${first.wanted}`
        : `shoal pool set ${first.name} pg_num ${first.wanted}, or pg_autoscale_mode on`,
  }
}

/** A pool that holds most of the data should have most of the PGs, or its objects pile up on few of them. */
function poolPgs(
  code: string,
  verdict: AutoscaleRow['verdict'],
  wrong: (share: number) => boolean,
  words: string,
  mend: string,
): CheckRow {
  return {
    code,
    check(view) {
      const scaled = autoscaled(view, verdict, words)
      if (scaled !== undefined) return scaled
      const pools = [...view.map.pools.values()].map((pool) => {
        let objects = 0
        for (const { stats } of view.statistics.rows(view.map, pool.id)) objects += stats?.objects ?? 0
        return { pool, objects }
      })
      const objects = pools.reduce((sum, row) => sum + row.objects, 0)
      const pgs = pools.reduce((sum, row) => sum + row.pool.pgNum, 0)
      if (pools.length < 2 || objects < 10_000) return undefined
      const found = pools.filter((row) => row.objects > 0 && wrong(row.objects / row.pool.pgNum / (objects / pgs)))
      if (found.length === 0) return undefined
      return {
        severity: 'warning',
        summary: `${count(found.length, 'pool')} ${words}`,
        detail: found.map((row) => `pool ${row.pool.name}: ${row.objects} objects on ${row.pool.pgNum} PGs`),
        mend,
      }
    },
  }
}

export const dataChecks: readonly CheckRow[] = [
  { code: 'PG_AVAILABILITY', check: unavailable },
  { code: 'PG_DEGRADED', check: degraded },
  { code: 'PG_DAMAGED', check: damaged },
  { code: 'OSD_SCRUB_ERRORS', check: scrubErrors },
  notScrubbed(
    'PG_NOT_SCRUBBED',
    'scrubbed',
    'scrub',
    (row) => row.stats?.lastScrubMs ?? 0,
    ({ settings }) => settings.osd_scrub_max_interval * (1 + settings.mon_warn_pg_not_scrubbed_ratio),
  ),
  notScrubbed(
    'PG_NOT_DEEP_SCRUBBED',
    'deep-scrubbed',
    'deep-scrub',
    (row) => row.stats?.lastDeepScrubMs ?? 0,
    ({ settings }) => settings.osd_deep_scrub_interval * (1 + settings.mon_warn_pg_not_deep_scrubbed_ratio),
  ),
  { code: 'OBJECT_UNFOUND', check: unfound },
  { code: 'OBJECT_MISPLACED', check: misplaced },
  ...spaceChecks,
  { code: 'SLOW_OPS', check: slowOps },
  { code: 'BLOCK_REPAIRED', check: repaired },
  { code: 'TOO_MANY_PGS', check: tooManyPgs },
  poolPgs(
    'POOL_TOO_FEW_PGS',
    'too-few',
    (share) => share > 10,
    'with too few PGs for what they hold',
    'shoal pool set POOL pg_num N',
  ),
  poolPgs(
    'POOL_TOO_MANY_PGS',
    'too-many',
    (share) => share < 0.01,
    'with far more PGs than they need',
    'shoal pool autoscale-status',
  ),
]
