/** New monitors out of what OSDs kept: the plan, and its way to the disk through every crash. */
import { address, type Epoch, isClusterError, osdId, type PgId, type PoolId } from '@shoal/base'
import {
  diffOsdMaps,
  emptySnapshots,
  firstSnapshots,
  type MonitorMap,
  type OsdMap,
  type Pool,
} from '@shoal/cluster-map'
import { SimWorld } from '@shoal/testkit'
import { describe, expect, it } from 'vitest'
import {
  initialOsdMap,
  inspectMonitorStore,
  type MapSource,
  MonitorDaemon,
  placeRebuiltStores,
  planRebuild,
  rebuildUnderWay,
  rebuiltState,
  stageRebuiltStores,
} from '../src/index.ts'
import { newOsd } from '../src/services/osd-lifecycle.ts'

const fsid = 'cluster'
const options = { fsid, margin: 10, wallMs: 1_000 }

function history(epochs: number, osds = [0, 1, 2]): readonly OsdMap[] {
  const first = initialOsdMap({ fsid, failureDomain: 'osd' })
  const known = new Map(
    osds.map((id) => [osdId(id), { ...newOsd(osdId(id), `uuid-${id}`), up: true, weight: 0x10000 }]),
  )
  return Array.from({ length: epochs }, (_, i) => ({
    ...first,
    epoch: (i + 1) as Epoch,
    osds: known,
    poolIdMax: 3,
    pgTemp: new Map([['1.0' as PgId, [osdId(i % 2)]]]),
    blocklist: new Map([[`${i}`, 5]]),
  }))
}

function source(osd: number, maps: readonly OsdMap[], change: Partial<MapSource> = {}): MapSource {
  return { osd: osdId(osd), uuid: `uuid-${osd}`, fsid, ready: true, maps, pools: [], ...change }
}

describe('the plan', () => {
  it('goes on from the newest map a margin later, with nobody up and nothing else changed', () => {
    const maps = history(20)
    const plan = planRebuild([source(0, maps.slice(0, 15)), source(1, maps), source(2, maps.slice(2, 19))], options)
    const last = plan.maps.at(-1) as OsdMap
    expect(plan.newestEpoch).toBe(20)
    expect(last.epoch).toBe(30)
    expect(last).toMatchObject({ fsid, poolIdMax: 13, blocklist: new Map([['19', 5]]), pgTemp: new Map() })
    expect([...last.osds.values()].map(({ up, downAt, uuid }) => [up, downAt, uuid])).toEqual([
      [false, 30, 'uuid-0'],
      [false, 30, 'uuid-1'],
      [false, 30, 'uuid-2'],
    ])
    expect(last.crush).toBe(maps[19]?.crush)
    expect(plan.missing).toEqual([])
  })

  it('has every epoch from the oldest that an OSD kept without a gap, as it was', () => {
    const maps = history(20)
    const plan = planRebuild([source(0, maps.slice(3, 9)), source(1, [...maps.slice(0, 2), ...maps.slice(7)])], options)
    expect(plan.maps.map(({ epoch }) => epoch)).toEqual(Array.from({ length: 27 }, (_, i) => i + 4))
    expect(plan.maps.slice(0, 17)).toEqual(maps.slice(3))
    const state = rebuiltState(plan, {
      monitors: { fsid, epoch: 30, monitors: [] },
      wallMs: 1_000,
      logMax: 10,
      configKeys: new Map([['dm-crypt/osd/uuid-0/luks', 'sealed']]),
    })
    expect([...state.configKeys]).toEqual([['dm-crypt/osd/uuid-0/luks', 'sealed']])
    expect([state.osdMaps.first, state.osdMaps.last]).toEqual([4, 30])
    expect(state.osdMaps.at(11 as Epoch)).toEqual(maps[10])
    expect(state.log.map(({ level }) => level)).toEqual(['warn'])
  })

  it('passes over the ids of pools that only a placement group is left of', () => {
    const plan = planRebuild([source(0, history(2), { pools: [7 as PoolId, 5 as PoolId] })], options)
    expect(plan.maps.at(-1)?.poolIdMax).toBe(17)
  })

  it('gives no snapshot id again that the lost monitors may have given, in no pool', () => {
    const pool = (id: number, change: Partial<Pool>): [PoolId, Pool] => [
      id as PoolId,
      { id: id as PoolId, name: `p${id}`, options: new Map([['compression_mode', 'none']]), ...change } as Pool,
    ]
    const removed = [{ first: 1, last: 7 }]
    const pools = new Map([pool(1, { snapshots: { ...emptySnapshots('pool'), seq: 7, removed } }), pool(2, {})])
    const [map] = history(1) as readonly [OsdMap]
    const after = planRebuild([source(0, [{ ...map, pools }])], options).maps.at(-1)?.pools
    expect(after?.get(1 as PoolId)?.snapshots).toMatchObject({ seq: 17, removed })
    const second = after?.get(2 as PoolId) as Pool
    expect([second.snapshots, second.options.get('compression_mode')]).toEqual([undefined, 'none'])
    expect(firstSnapshots(second, 'selfmanaged').seq).toBe(10)
    const again = planRebuild([source(0, [{ ...map, pools: new Map([[second.id, second]]) }])], options).maps.at(-1)
    expect(firstSnapshots(again?.pools.get(second.id) as Pool, 'pool').seq).toBe(20)
  })

  it('registers an OSD whose registration was lost, and no other', () => {
    const maps = history(4)
    const gone = history(5).map((map) => ({ ...map, osds: new Map([...map.osds].filter(([id]) => id !== 2)) }))
    const sources = [
      source(0, [...maps, gone[4] as OsdMap]),
      source(1, [], { uuid: 'of an earlier disk' }),
      source(2, maps),
      source(3, []),
      source(4, [], { ready: false }),
    ]
    const plan = planRebuild(sources, options)
    expect(plan.sources.map(({ fate }) => fate)).toEqual(['known', 'refused', 'refused', 'registered', 'preparing'])
    expect([...(plan.maps.at(-1)?.osds.keys() ?? [])]).toEqual([0, 1, 3])
    expect(plan.maps.at(-1)?.osds.get(osdId(3))).toMatchObject({ uuid: 'uuid-3', up: false, upFrom: 0 })
    expect(plan.missing).toEqual([1])
  })

  it.each([
    ['another cluster', [source(0, history(2), { fsid: 'other' })], 'EINVAL'],
    ['two clusters', [source(0, history(2)), source(1, history(2), { fsid: 'other' })], 'EINVAL'],
    ['two directories of one OSD', [source(0, history(2)), source(0, history(1))], 'EINVAL'],
    ['nothing', [], 'ENOENT'],
    ['no map', [source(0, [])], 'ENOENT'],
    ['two histories', [source(0, history(2)), source(1, history(3, [0, 1]))], 'EBADMSG'],
  ])('refuses %s', (_what, sources, code) => {
    expect(() => planRebuild(sources, { ...options, fsid: sources.length === 0 ? undefined : fsid })).toThrow(
      expect.objectContaining({ code }) as Error,
    )
  })

  it('makes epochs that follow each other, whatever the margin', () => {
    for (const margin of [1, 2, 300]) {
      const { maps } = planRebuild([source(0, history(3))], { ...options, margin })
      expect(maps.at(-1)?.epoch).toBe(3 + margin)
      for (const [i, map] of maps.entries()) if (i > 0) diffOsdMaps(maps[i - 1] as OsdMap, map)
    }
  })
})

describe('the way to the disk', () => {
  const names = ['a', 'b', 'c']
  const monitors = names.map((name, i) => ({
    name,
    address: address(`10.0.0.${i + 1}:6789`),
    directory: `/c/mon.${name}`,
  }))
  const plan = planRebuild([source(0, history(5))], options)
  const stores = {
    staging: '/c/mon.rebuild',
    monitors,
    poolSize: 3,
    fsid,
    monitorMapEpoch: 15,
    state: (monitors: MonitorMap) => rebuiltState(plan, { monitors, wallMs: 0, logMax: 10 }),
  }

  async function prepared(seed: number) {
    const machine = new SimWorld({ seed }).machine('host')
    const env = machine.start()
    // One that lost its log, one that lost everything, one that lost its identity.
    const old = monitors.map((one, i) => ({ id: i + 1, name: one.name, address: one.address }))
    await MonitorDaemon.mkfs(env, '/c/mon.a', { fsid, name: 'a', monitors: old })
    await MonitorDaemon.mkfs(env, '/c/mon.c', { fsid, name: 'c', monitors: old })
    await env.disk.remove('/c/mon.a/consensus')
    await env.disk.remove('/c/mon.c/identity')
    for (const directory of ['/c/mon.a', '/c/mon.c', '/c']) await env.disk.syncDirectory(directory)
    return { machine, env }
  }

  const rebuild = async (env: Parameters<typeof stageRebuiltStores>[0]): Promise<'anew' | 'completed'> => {
    const underWay = await rebuildUnderWay(env, stores.staging, fsid)
    if (!underWay) await stageRebuiltStores(env, stores)
    await placeRebuiltStores(env, stores)
    return underWay ? 'completed' : 'anew'
  }

  it('sets old directories aside and leaves whole stores of one membership', async () => {
    const { env } = await prepared(1)
    expect(await Promise.all(monitors.map(({ directory }) => inspectMonitorStore(env, directory)))).toEqual([
      'damaged',
      'absent',
      'absent',
    ])
    await rebuild(env)
    expect(await env.disk.list('/c')).toEqual([
      'mon.a',
      'mon.a.before-rebuild',
      'mon.b',
      'mon.c',
      'mon.c.before-rebuild',
    ])
    expect(await Promise.all(monitors.map(({ directory }) => inspectMonitorStore(env, directory)))).toEqual([
      'healthy',
      'healthy',
      'healthy',
    ])
  })

  it('is completed by the next attempt wherever the power is cut', async () => {
    const outcomes = new Set<string>()
    for (let cut = 1; ; cut++) {
      const { machine, env } = await prepared(cut)
      machine.cutPowerAtStep = machine.steps + cut
      const ended = await Promise.race([rebuild(env).then(() => 'whole'), machine.dead.then(() => 'cut')])
      machine.cutPowerAtStep = Number.POSITIVE_INFINITY
      const after = ended === 'whole' ? env : machine.start()
      const whole = async () =>
        (await Promise.all(monitors.map(({ directory }) => inspectMonitorStore(after, directory)))).filter(
          (state) => state === 'healthy',
        ).length
      const before = await whole()
      if (before < names.length) outcomes.add(`${await rebuild(after)} from ${before}`)
      expect(await whole()).toBe(names.length)
      expect(await after.disk.list('/c')).toEqual(
        expect.arrayContaining(['mon.a.before-rebuild', 'mon.c.before-rebuild']),
      )
      if (ended === 'whole') break
    }
    expect([...outcomes]).toEqual(expect.arrayContaining(['anew from 0', 'completed from 0', 'completed from 1']))
  })

  it('does not complete a rebuild of another cluster', async () => {
    const { env } = await prepared(1)
    await stageRebuiltStores(env, stores)
    const refused = await rebuildUnderWay(env, stores.staging, 'other').catch((error: unknown) => error)
    expect(isClusterError(refused, 'EINVAL')).toBe(true)
  })
})
