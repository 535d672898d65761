/** Placement against Ceph's own osdmaptool: the same map must give the same up and acting sets and primaries. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decode, type Epoch, encode, type OsdId, osdId, type PgId, poolId } from '@shoal/base'
import {
  applyIncremental,
  createOsdMap,
  diffOsdMaps,
  type OsdInfo,
  type OsdMap,
  osdMapCodec,
  osdMapIncrementalCodec,
  PlacementCache,
  type Pool,
  placeObject,
} from '@shoal/cluster-map'
import { decodeCrushMap } from '@shoal/crush'
import { describe, expect, test } from 'vitest'
import { osd } from './support/random-map.ts'

const hasOsdmaptool = spawnSync('osdmaptool', ['--help']).error === undefined
if (process.env['CI'] !== undefined && !hasOsdmaptool)
  throw new Error('osdmaptool is missing: scripts/install-test-tools.sh ceph-base')

function replicatedPool(id: number, pgNum: number, size: number): Pool {
  return {
    id: poolId(id),
    name: `pool-${id}`,
    type: 'replicated',
    size,
    minSize: 2,
    pgNum,
    pgpNum: pgNum,
    crushRule: 0,
    hashPool: true,
    created: 1 as Epoch,
    lastChange: 1 as Epoch,
    applications: [],
    options: new Map(),
  }
}

interface CephMap {
  readonly dump: string
  readonly map: OsdMap
}

/** A map that osdmaptool makes and changes, and ours with the same contents. */
function cephMap(
  osds: number,
  pgBits: number,
  changes: readonly string[],
  entries: Partial<OsdMap> = {},
  ours: readonly OsdInfo[] = [],
): CephMap {
  const directory = mkdtempSync(join(tmpdir(), 'shoal-osdmap-'))
  try {
    const tool = (...args: readonly string[]): string =>
      execFileSync('osdmaptool', args, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    tool(
      '--osd_crush_chooseleaf_type=0',
      '--createsimple',
      String(osds),
      'map',
      '--with-default-pool',
      '--pg-bits',
      String(pgBits),
      '--clobber',
    )
    tool('map', '--export-crush', 'crush')
    const dump = tool('map', '--mark-up-in', ...changes, '--test-map-pgs-dump-all', '--pool', '1')
    const crush = decodeCrushMap(readFileSync(join(directory, 'crush')))
    const pool = replicatedPool(1, osds << pgBits, 3)
    const all = new Map<OsdId, OsdInfo>()
    for (let id = 0; id < osds; id++) all.set(osdId(id), osd(id))
    for (const one of ours) all.set(one.id, one)
    return {
      dump,
      map: { ...createOsdMap('fsid', crush, 0), osds: all, pools: new Map([[pool.id, pool]]), ...entries },
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Lines of --test-map-pgs-dump-all: `1.0 raw ([..], p0) up ([..], p0) acting ([..], p0)`. */
function expectSame({ dump, map }: CephMap): void {
  const cache = new PlacementCache(map)
  const lines = dump.split('\n').filter((line) => /^1\.[0-9a-f]+\s+raw/.test(line))
  expect(lines.length).toBe(map.pools.get(poolId(1))?.pgNum)
  for (const line of lines) {
    const id = line.split(/\s/)[0] as PgId
    const { up, upPrimary, acting, actingPrimary } = cache.mapping(id)
    expect(line, id).toContain(`raw ([${cache.raw(id).join(',')}]`)
    expect(line, id).toContain(`up ([${up.join(',')}], p${upPrimary})`)
    expect(line, id).toContain(`acting ([${acting.join(',')}], p${actingPrimary})`)
  }
}

describe.runIf(hasOsdmaptool)('against osdmaptool', () => {
  test.each([3, 5, 12, 40])('%i OSDs, all up and in', (count) => {
    expectSame(cephMap(count, 5, []))
  })

  test.each([0, 3, 9])('osd.%i is out', (id) => {
    expectSame(cephMap(10, 5, ['--mark-out', String(id)], {}, [osd(id, { weight: 0 })]))
  })
})

describe('placement', () => {
  const crush = decodeCrushMap(readFileSync(join(import.meta.dirname, 'vectors', 'twelve-osds.crush')))
  const pool = replicatedPool(1, 64, 3)
  const osds = new Map(Array.from({ length: 12 }, (_, id) => [osdId(id), osd(id)]))
  const map: OsdMap = { ...createOsdMap('fsid', crush, 0), osds, pools: new Map([[pool.id, pool]]) }
  const golden = readFileSync(join(import.meta.dirname, 'vectors', 'twelve-osds.dump'), 'utf8')

  test('equals what osdmaptool said of the same map (recorded)', () => {
    expectSame({ dump: golden, map: { ...map, pools: new Map([[pool.id, { ...pool, pgNum: 384, pgpNum: 384 }]]) } })
  })

  test('names hash as Ceph hashes them', () => {
    // ceph osd map rbd foo: 'foo' -> 0x7fc1f406
    expect(placeObject(map, pool.id, '', 'foo').hash.toString(16)).toBe('7fc1f406')
    expect(placeObject(map, pool.id, 'ns', 'foo').hash).not.toBe(placeObject(map, pool.id, '', 'foo').hash)
  })

  test('a down OSD leaves up and acting, and comes back', () => {
    const id = '1.0' as PgId
    const before = new PlacementCache(map).mapping(id)
    const primary = before.upPrimary
    const down = { ...map, osds: new Map(osds).set(primary, osd(primary, { up: false })) }
    const after = new PlacementCache(down).mapping(id)
    expect(after.up).toEqual(before.up.slice(1))
    expect(after.upPrimary).toBe(before.up[1])
  })

  test('pg_temp replaces acting, and counts only while a member is up', () => {
    const id = '1.5' as PgId
    const { up } = new PlacementCache(map).mapping(id)
    const others = [...osds.keys()].filter((one) => !up.includes(one)).slice(0, 2)
    const temp = { ...map, pgTemp: new Map([[id, others]]) }
    expect(new PlacementCache(temp).mapping(id)).toMatchObject({ up, acting: others, actingPrimary: others[0] })
    const allDown = new Map(osds)
    for (const one of others) allDown.set(one, osd(one, { up: false }))
    expect(new PlacementCache({ ...temp, osds: allDown }).mapping(id).acting).toEqual(up)
  })

  test('upmap-items move a copy unless the target is out or a member already', () => {
    const id = '1.7' as PgId
    const { up } = new PlacementCache(map).mapping(id)
    const [first, second] = up as [OsdId, OsdId, OsdId]
    const to = [...osds.keys()].find((one) => !up.includes(one)) as OsdId
    const moved = { ...map, upmapItems: new Map([[id, [{ from: first, to }]]]) }
    expect(new PlacementCache(moved).mapping(id).up).toEqual([to, ...up.slice(1)])
    const member = { ...map, upmapItems: new Map([[id, [{ from: first, to: second }]]]) }
    expect(new PlacementCache(member).mapping(id).up).toEqual(up)
    const out = { ...moved, osds: new Map(osds).set(to, osd(to, { weight: 0 })) }
    expect(new PlacementCache(out).mapping(id).up).not.toContain(to)
  })

  test('an OSD without primary affinity is primary only where nobody else is', () => {
    const reluctant = { ...map, osds: new Map(osds).set(osdId(0), osd(0, { primaryAffinity: 0 })) }
    const cache = new PlacementCache(reluctant)
    for (let seed = 0; seed < 64; seed++) expect(cache.mapping(`1.${seed.toString(16)}` as PgId).upPrimary).not.toBe(0)
  })

  test('an unknown PG or pool is ENOENT', () => {
    const cache = new PlacementCache(map)
    for (const id of ['1.40', '9.0', 'x'])
      expect(() => cache.mapping(id as PgId)).toThrow(expect.objectContaining({ code: 'ENOENT' }))
    expect(() => placeObject(map, poolId(9), '', 'x')).toThrow(expect.objectContaining({ code: 'ENOENT' }))
  })

  test('maps and incrementals survive encoding, and a difference leads from one map to the next', () => {
    const next: OsdMap = {
      ...map,
      epoch: (map.epoch + 1) as Epoch,
      modifiedMs: 5,
      flags: new Set(['noout', 'pausewr']),
      osds: new Map([...osds].slice(1)).set(osdId(3), osd(3, { up: false, downAt: 4 as Epoch })),
      pgTemp: new Map([['1.3' as PgId, [osdId(1), osdId(2)]]]),
      upmapItems: new Map([['1.4' as PgId, [{ from: osdId(1), to: osdId(2) }]]]),
      blocklist: new Map([['client.7', 1234.5]]),
      fullRatio: 0.97,
    }
    const incremental = decode(osdMapIncrementalCodec, encode(osdMapIncrementalCodec, diffOsdMaps(map, next)))
    expect(incremental.crush).toBeUndefined()
    const applied = applyIncremental(map, incremental)
    expect(applied).toEqual(next)
    expect(decode(osdMapCodec, encode(osdMapCodec, applied))).toEqual(next)
    expect(applied.crush).toBe(map.crush)
  })
})
