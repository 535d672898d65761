/** Clusters of any shape, for properties of placement. */
import { type Epoch, osdId, type PgId, poolId } from '@shoal/base'
import { createOsdMap, type OsdInfo, type OsdMap, type Pool, type UpmapPlan, weightOne } from '@shoal/cluster-map'
import { createReplicatedRule, emptyCrushMap, ruleIdOf, setDeviceClass, updateItem } from '@shoal/crush'
import fc from 'fast-check'

export function osd(id: number, changes: Partial<OsdInfo> = {}): OsdInfo {
  const never = 0 as Epoch
  return {
    id: osdId(id),
    uuid: `uuid-${id}`,
    up: true,
    weight: weightOne,
    autoOut: false,
    primaryAffinity: weightOne,
    addresses: undefined,
    incarnation: 1,
    upFrom: 1 as Epoch,
    upThru: 1 as Epoch,
    downAt: never,
    lostAt: never,
    lastCleanBegin: never,
    lastCleanEnd: never,
    features: 0,
    deviceClass: undefined,
    ...changes,
  }
}

export interface ClusterShape {
  /** Of each host, the CRUSH weights of its OSDs. */
  readonly hosts: readonly (readonly number[])[]
  readonly hostsPerRack: number
  readonly failureDomain: 'osd' | 'host' | 'rack'
  /** Of an OSD, whether it is of class `ssd` and not `hdd`. */
  readonly ssd: (id: number) => boolean
  readonly deviceClass: 'ssd' | 'hdd' | undefined
  readonly pools: readonly { readonly pgNum: number; readonly size: number }[]
}

export function mapOf(shape: ClusterShape): OsdMap {
  let crush = emptyCrushMap()
  const osds: OsdInfo[] = []
  for (const [host, weights] of shape.hosts.entries()) {
    for (const weight of weights) {
      const id = osds.length
      const rack = `rack-${Math.floor(host / shape.hostsPerRack)}`
      crush = updateItem(crush, id, `osd.${id}`, weight, { root: 'default', rack, host: `host-${host}` })
      crush = setDeviceClass(crush, id, shape.ssd(id) ? 'ssd' : 'hdd')
      osds.push(osd(id))
    }
  }
  const { failureDomain, deviceClass } = shape
  const rule = { name: 'rule', root: 'default', failureDomain, ...(deviceClass === undefined ? {} : { deviceClass }) }
  crush = createReplicatedRule(crush, rule)
  const crushRule = ruleIdOf(crush, 'rule') as number
  const pools = shape.pools.map(({ pgNum, size }, index): Pool => {
    const since = 1 as Epoch
    return {
      id: poolId(index + 1),
      name: `pool-${index + 1}`,
      type: 'replicated',
      size,
      minSize: 1,
      pgNum,
      pgpNum: pgNum,
      crushRule,
      hashPool: true,
      created: since,
      lastChange: since,
      applications: [],
      options: new Map(),
    }
  })
  return {
    ...createOsdMap('fsid', crush, 0),
    osds: new Map(osds.map((one) => [one.id, one])),
    pools: new Map(pools.map((pool) => [pool.id, pool])),
  }
}

const weights = fc.constantFrom(1, 1, 1, 2, 4)

/** `ssd`s are every second or third OSD, so that every class has some in most maps. */
export const clusterShapes: fc.Arbitrary<ClusterShape> = fc.record({
  hosts: fc.array(fc.array(weights, { minLength: 1, maxLength: 4 }), { minLength: 3, maxLength: 9 }),
  hostsPerRack: fc.integer({ min: 1, max: 3 }),
  failureDomain: fc.constantFrom('osd', 'host', 'rack'),
  ssd: fc.constantFrom(2, 3).map((every) => (id: number) => id % every === 0),
  deviceClass: fc.constantFrom(undefined, undefined, 'ssd', 'hdd'),
  pools: fc.array(fc.record({ pgNum: fc.constantFrom(8, 12, 32, 64), size: fc.integer({ min: 1, max: 3 }) }), {
    minLength: 1,
    maxLength: 3,
  }),
})

export function withPlan(map: OsdMap, plan: UpmapPlan): OsdMap {
  const upmapItems = new Map(map.upmapItems)
  for (const [id, items] of plan.upmapItems) {
    if (items === null) upmapItems.delete(id as PgId)
    else upmapItems.set(id, items)
  }
  return { ...map, upmapItems }
}
