/** The bytes of maps, as docs/formats/osd-map.md describes them: recorded, so that no change goes unseen. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { address, decode, type Epoch, encode, hexEncode, osdId, type PgId, poolId } from '@shoal/base'
import {
  createOsdMap,
  emptySnapshots,
  type MonitorMap,
  monitorMapCodec,
  type OsdInfo,
  type OsdMap,
  type OsdMapIncremental,
  osdInfoCodec,
  osdMapCodec,
  osdMapIncrementalCodec,
  type Pool,
  poolCodec,
} from '@shoal/cluster-map'
import { decodeCrushMap } from '@shoal/crush'
import { expect, test } from 'vitest'

const osd: OsdInfo = {
  id: osdId(3),
  uuid: 'u3',
  up: true,
  weight: 0x10000,
  autoOut: false,
  primaryAffinity: 0x8000,
  addresses: { data: address('h:1'), heartbeat: address('h:2'), admin: address('h:3') },
  incarnation: 77,
  upFrom: 5 as Epoch,
  upThru: 6 as Epoch,
  downAt: 4 as Epoch,
  lostAt: 0 as Epoch,
  lastCleanBegin: 1 as Epoch,
  lastCleanEnd: 3 as Epoch,
  features: 1,
  deviceClass: 'ssd',
}
const pool: Pool = {
  id: poolId(2),
  name: 'rbd',
  type: 'replicated',
  size: 3,
  minSize: 2,
  pgNum: 32,
  pgpNum: 32,
  crushRule: 0,
  hashPool: true,
  created: 7 as Epoch,
  lastChange: 8 as Epoch,
  applications: ['block'],
  options: new Map([['k', 'v']]),
}
const monitors: MonitorMap = { fsid: 'f', epoch: 2, monitors: [{ id: 9, name: 'a', address: address('h:4') }] }
const incremental: OsdMapIncremental = {
  fsid: 'f',
  epoch: 9 as Epoch,
  modifiedMs: 1.5,
  flags: new Set(['noout', 'full']),
  osds: new Map([[osdId(1), null]]),
  pgTemp: new Map([['2.1f' as PgId, [osdId(3), osdId(0)]]]),
}

test('an OSD', () => {
  expect(hexEncode(encode(osdInfoCodec, osd))).toBe(
    '01015a00000003000000020000007533010000010000008000000103000000683a3103000000683a3203000000683a33' +
      '4d0000000000000005000000060000000400000000000000010000000300000001000000000000000103000000737364',
  )
  expect(decode(osdInfoCodec, encode(osdInfoCodec, osd))).toEqual(osd)
})

test('a pool', () => {
  expect(hexEncode(encode(poolCodec, pool))).toBe(
    '010148000000020000000000000003000000726264000300000002000000200000002000000000000000010700000008' +
      '0000000100000005000000626c6f636b01000000010000006b0100000076',
  )
  expect(decode(poolCodec, encode(poolCodec, pool))).toEqual(pool)
})

test('the monitor map', () => {
  expect(hexEncode(encode(monitorMapCodec, monitors))).toBe(
    '010121000000010000006602000000010000000900000000000000010000006103000000683a34',
  )
  expect(decode(monitorMapCodec, encode(monitorMapCodec, monitors))).toEqual(monitors)
})

test('an incremental', () => {
  expect(hexEncode(encode(osdMapIncrementalCodec, incremental))).toBe(
    '010146000000010000006609000000000000000000f83f000102000000040b0101000000010000000000000001010000' +
      '0004000000322e316601020000000300000000000000000000000000',
  )
  expect(decode(osdMapIncrementalCodec, encode(osdMapIncrementalCodec, incremental))).toEqual(incremental)
})

test('a field that a newer version appended is skipped; one that this version must know is refused', () => {
  const full: Pool = { ...pool, snapshots: emptySnapshots('pool') }
  const bytes = encode(poolCodec, full)
  const newer = new Uint8Array([...bytes, 1, 2, 3, 4])
  newer[0] = 3
  new DataView(newer.buffer).setUint32(2, bytes.length - 6 + 4, true)
  expect(decode(poolCodec, newer)).toEqual(full)
  newer[1] = 3
  expect(() => decode(poolCodec, newer)).toThrow(expect.objectContaining({ code: 'EPROTO' }))
})

test('erasure code profiles are there only when they are used', () => {
  const profiles = new Map([['p', ['k=2', 'm=1']]])
  const change: OsdMapIncremental = { ...incremental, erasureProfiles: new Map([...profiles, ['q', null]]) }
  const bytes = encode(osdMapIncrementalCodec, change)
  expect([bytes[0], bytes[1]]).toEqual([2, 1])
  expect(hexEncode(bytes.subarray(-42))).toBe(
    '00000000000000000200000001000000700102000000030000006b3d32030000006d3d31010000007100',
  )
  expect(decode(osdMapIncrementalCodec, bytes)).toEqual(change)
  const crush = decodeCrushMap(readFileSync(join(import.meta.dirname, 'vectors', 'twelve-osds.crush')))
  const map: OsdMap = { ...createOsdMap('f', crush, 0), erasureProfiles: profiles }
  expect(encode(osdMapCodec, map)[0]).toBe(2)
  expect(decode(osdMapCodec, encode(osdMapCodec, map)).erasureProfiles).toEqual(profiles)
  expect(encode(osdMapCodec, createOsdMap('f', crush, 0))[0]).toBe(1)
})
