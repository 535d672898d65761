import { type Epoch, osdId, type PgId, poolId } from '@shoal/base'
import { type OsdInfo, type OsdMap, type Pool, weightOne } from '@shoal/cluster-map'
import { initialOsdMap } from '@shoal/monitor'
import { expect, it } from 'vitest'
import { UpmapPrimaryChecker } from '../../src/index.ts'

const never = 0 as Epoch
const id = '1.0' as PgId

function osd(number: number, changes: Partial<OsdInfo> = {}): OsdInfo {
  return {
    id: osdId(number),
    uuid: `u${number}`,
    up: true,
    weight: weightOne,
    autoOut: false,
    primaryAffinity: weightOne,
    addresses: undefined,
    incarnation: 1,
    upFrom: never,
    upThru: never,
    downAt: never,
    lostAt: never,
    lastCleanBegin: never,
    lastCleanEnd: never,
    features: 0,
    deviceClass: undefined,
    ...changes,
  }
}

const members = [0, 1, 2].map(osdId)
const last = osdId(2)
const outsider = osdId(3)

/** Four OSDs and one PG of three copies. */
function mapWith(type: Pool['type'] = 'replicated'): OsdMap {
  const pool: Pool = {
    id: poolId(1),
    name: 'p',
    type,
    size: 3,
    minSize: 2,
    pgNum: 1,
    pgpNum: 1,
    crushRule: 0,
    hashPool: true,
    created: never,
    lastChange: never,
    applications: [],
    options: new Map(),
  }
  return {
    ...initialOsdMap({ fsid: 'f' }),
    epoch: 5 as Epoch,
    osds: new Map([0, 1, 2, 3].map((number) => [osdId(number), osd(number)])),
    pools: new Map([[pool.id, pool]]),
    upmap: new Map([[id, members]]),
  }
}

function violations(map: OsdMap, primary: OsdInfo['id']): readonly string[] {
  const checker = new UpmapPrimaryChecker()
  checker.observe({ ...map, upmapPrimaries: new Map([[id, primary]]) })
  return checker.violations.map(({ message }) => message)
}

const changed = (map: OsdMap, number: OsdInfo['id'], changes: Partial<OsdInfo>): OsdMap => ({
  ...map,
  osds: new Map(map.osds).set(number, osd(number, changes)),
})

it('exceptions name members; who is down may come back', () => {
  expect(violations(mapWith(), last)).toEqual([])
  expect(violations(changed(mapWith(), last, { up: false }), last)).toEqual([])
  expect(violations(changed(mapWith(), last, { primaryAffinity: 0 }), last)).toEqual([])
})

it('void exceptions are gone', () => {
  expect(violations(mapWith(), outsider)).toEqual([
    `osdmap 5 keeps osd.${outsider} as primary of 1.0, which belongs on [${members.join()}]`,
  ])
  expect(violations(changed(mapWith(), last, { weight: 0 }), last)[0]).toMatch('and it is out')
  expect(violations({ ...mapWith(), pools: new Map() }, last)[0]).toMatch('which does not exist')
  expect(violations(mapWith('erasure'), last)[0]).toMatch('places of their own')
})
