/** The balancer on clusters of any shape, and against Ceph's own. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type OsdId, osdId, type PgId, poolId } from '@shoal/base'
import {
  cleanUpmaps,
  isAllowedSet,
  measureBalance,
  type OsdMap,
  PlacementCache,
  type Pool,
  pgIdsOf,
  planUpmaps,
  ruleShape,
  type UpmapItem,
} from '@shoal/cluster-map'
import { encodeCrushMap } from '@shoal/crush'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ClusterShape, clusterShapes, mapOf, osd, withPlan } from './support/random-map.ts'

const hasOsdmaptool = spawnSync('osdmaptool', ['--help']).error === undefined
if (process.env['CI'] !== undefined && !hasOsdmaptool)
  throw new Error('osdmaptool is missing: scripts/install-test-tools.sh ceph-base')

/** Rounds until nothing is left to do. */
function balanced(map: OsdMap, changesMax = 10): { readonly map: OsdMap; readonly rounds: number } {
  let now = map
  for (let rounds = 0; rounds < 1_000; rounds++) {
    const plan = planUpmaps(now, { changesMax })
    if (plan.upmapItems.size === 0) return { map: now, rounds }
    // A chain of moves is made whole.
    expect(plan.upmapItems.size).toBeLessThan(changesMax + 3)
    now = withPlan(now, plan)
  }
  throw new Error('the balancer does not end')
}

function violations(map: OsdMap): readonly PgId[] {
  const placement = new PlacementCache(map)
  return [...map.pools.values()].flatMap((pool) => {
    const shape = ruleShape(map.crush, pool.crushRule, pool.size)
    if (shape === undefined) return []
    return pgIdsOf(pool).filter((id) => !isAllowedSet(shape, placement.placed(id)))
  })
}

const evenHosts = (hosts: number, osds: number): readonly number[][] =>
  Array.from({ length: hosts }, () => Array.from({ length: osds }, () => 1))

const plain: ClusterShape = {
  hosts: evenHosts(6, 2),
  hostsPerRack: 2,
  failureDomain: 'host',
  ssd: () => false,
  deviceClass: undefined,
  pools: [{ pgNum: 64, size: 3 }],
}

describe('planUpmaps', () => {
  test('on any cluster: ends, keeps every failure domain, makes nothing worse, and needs no cleaning', () => {
    fc.assert(
      fc.property(clusterShapes, (shape) => {
        const map = mapOf(shape)
        expect(violations(map)).toEqual([])
        const after = balanced(map)
        expect(violations(after.map)).toEqual([])
        for (const [at, before] of measureBalance(map).entries()) {
          expect(measureBalance(after.map)[at]?.deviationRms).toBeLessThanOrEqual(before.deviationRms + 1e-9)
        }
        const { upmap, upmapItems } = cleanUpmaps(after.map)
        expect([upmap.length, upmapItems.size]).toEqual([0, 0])
      }),
      { numRuns: 60 },
    )
  })

  test.each([
    ['hosts of equal weight', plain],
    ['racks', { ...plain, failureDomain: 'rack' as const }],
    ['no failure domain', { ...plain, failureDomain: 'osd' as const, hosts: evenHosts(3, 3) }],
    [
      'a class of devices',
      { ...plain, hosts: evenHosts(8, 4), ssd: (id: number) => id % 2 === 0, deviceClass: 'ssd' as const },
    ],
    ['a PG number that is no power of two', { ...plain, pools: [{ pgNum: 100, size: 2 }] }],
  ])('%s: fullest and emptiest OSD differ by one PG at most', (_name, shape) => {
    for (const { least, most } of measureBalance(balanced(mapOf(shape)).map))
      expect(most - least).toBeLessThanOrEqual(1)
  })

  test('follows weights: an OSD of twice the weight gets twice the copies, to one PG', () => {
    const hosts = evenHosts(6, 2).map(([first]) => [first as number, 2])
    const [row] = measureBalance(balanced(mapOf({ ...plain, hosts, pools: [{ pgNum: 128, size: 3 }] })).map)
    expect(row?.deviationMax).toBeLessThanOrEqual(1)
  })

  test('several pools add up to an even whole, not each to a heap on the same OSDs', () => {
    const pools = Array.from({ length: 6 }, () => ({ pgNum: 16, size: 3 }))
    const { map } = balanced(mapOf({ ...plain, hosts: evenHosts(7, 1), pools }))
    const placement = new PlacementCache(map)
    const copies = [...map.osds.keys()].map((id) => placement.pgsOf(id).length)
    expect(Math.max(...copies) - Math.min(...copies)).toBeLessThanOrEqual(1)
  })

  test('takes an exception back when CRUSH is right again', () => {
    const map = balanced(mapOf({ ...plain, failureDomain: 'osd' })).map
    const placement = new PlacementCache(map)
    const id = pgIdsOf(map.pools.get(poolId(1)) as Pool).find((one) => !map.upmapItems.has(one)) as PgId
    const placed = placement.placed(id)
    const from = placed[0] as OsdId
    const to = [...map.osds.keys()].find((one) => !placed.includes(one)) as OsdId
    const skewed = { ...map, upmapItems: new Map(map.upmapItems).set(id, [{ from, to }]) }
    const again = balanced(skewed).map
    expect(again.upmapItems.size).toBeLessThanOrEqual(map.upmapItems.size + 1)
    for (const { least, most } of measureBalance(again)) expect(most - least).toBeLessThanOrEqual(1)
  })

  test('a pool in the middle of a split is left alone', () => {
    const map = mapOf(plain)
    const [pool] = [...map.pools.values()]
    const splitting = { ...map, pools: new Map([[poolId(1), { ...(pool as NonNullable<typeof pool>), pgpNum: 32 }]]) }
    expect(planUpmaps(splitting, { changesMax: 10 }).upmapItems.size).toBe(0)
  })

  test('nothing goes to an OSD that is out or down', () => {
    const map = mapOf(plain)
    const osds = new Map(map.osds).set(osdId(0), osd(0, { weight: 0 })).set(osdId(1), osd(1, { up: false }))
    for (const items of planUpmaps({ ...map, osds }, { changesMax: 100 }).upmapItems.values()) {
      for (const { to } of items ?? []) expect([0, 1]).not.toContain(to)
    }
  })

  test('looks at no more than it may', () => {
    expect(planUpmaps(mapOf(plain), { changesMax: 100, checksMax: 0 }).upmapItems.size).toBe(0)
  })
})

describe.runIf(hasOsdmaptool)('against osdmaptool --upmap', () => {
  test.each([
    ['host', 6, 2, 3],
    ['host', 5, 3, 2],
    ['rack', 9, 2, 4],
    ['osd', 4, 3, 3],
  ] as const)('%s, %i hosts of %i OSDs, 2^%i PGs for each: at least as even', (failureDomain, hosts, osds, pgBits) => {
    const pgNum = (hosts * osds) << pgBits
    const map = mapOf({ ...plain, failureDomain, hosts: evenHosts(hosts, osds), pools: [{ pgNum, size: 3 }] })
    const [ceph] = measureBalance({ ...map, upmapItems: cephUpmaps(map, pgBits) })
    const [ours] = measureBalance(balanced(map).map)
    const [before] = measureBalance(map)
    expect(ceph?.deviationRms).toBeLessThan(before?.deviationRms ?? 0)
    expect(ours?.deviationMax).toBeLessThanOrEqual((ceph?.deviationMax ?? 0) + 1e-9)
    expect(ours?.deviationRms).toBeLessThanOrEqual((ceph?.deviationRms ?? 0) + 1e-9)
  })
})

/** What Ceph would set for the only pool of the map. */
function cephUpmaps(map: OsdMap, pgBits: number): ReadonlyMap<PgId, readonly UpmapItem[]> {
  const directory = mkdtempSync(join(tmpdir(), 'shoal-upmap-'))
  try {
    const tool = (...args: readonly string[]): string =>
      execFileSync('osdmaptool', args, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    writeFileSync(join(directory, 'crush'), encodeCrushMap(map.crush))
    const count = map.osds.size
    tool('--createsimple', String(count), 'map', '--with-default-pool', '--pg-bits', String(pgBits), '--clobber')
    tool('map', '--import-crush', 'crush')
    tool('map', '--mark-up-in', '--upmap', 'upmaps', '--upmap-deviation', '1', '--upmap-max', '1000')
    const text = readFileSync(join(directory, 'upmaps'), 'utf8')
    const upmaps = new Map<PgId, UpmapItem[]>()
    for (const [, id, pairs] of text.matchAll(/pg-upmap-items (\S+) ([\d ]+)/g)) {
      const ids = (pairs as string)
        .trim()
        .split(' ')
        .map((word) => osdId(Number(word)))
      const items: UpmapItem[] = []
      for (let at = 0; at < ids.length; at += 2) items.push({ from: ids[at] as OsdId, to: ids[at + 1] as OsdId })
      upmaps.set(id as PgId, items)
    }
    return upmaps
  } finally {
    rmSync(directory, { recursive: true })
  }
}
