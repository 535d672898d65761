/** Scrub's verdicts, its schedule, and its bytes. */
import { type Epoch, epoch, type OsdId, osdId, type PgId } from '@shoal/base'
import { createErasureCode, linearDigest } from '@shoal/erasure'
import { headSnap, type ObjectId, objectKey, type Version, zeroVersion } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import { shardCheck } from '../src/erasure/shard-scrub.ts'
import { memberOf, shardOf } from '../src/member.ts'
import { envelope, openEnvelope } from '../src/peer-message.ts'
import { compareScrubMaps, type Expected, type MemberMap } from '../src/scrub-compare.ts'
import { type ScrubbedObject, scrubDamage } from '../src/scrub-map.ts'
import type { ScrubMessage } from '../src/scrub-message.ts'
import { countScrubErrors, decodeScrubRecord, type ScrubRecord, setScrubRecord } from '../src/scrub-record.ts'
import { defaultScrubSettings, nextScrub } from '../src/scrub-schedule.ts'

const thing: ObjectId = { pool: 1 as ObjectId['pool'], hash: 5, namespace: '', name: 'thing', snap: headSnap }
const at = (version: number): Version => ({ epoch: 3 as Epoch, version })
const sound: ScrubbedObject = {
  object: thing,
  version: at(7),
  sizeBytes: 10,
  attributesDigest: 1,
  omapDigest: 2,
  dataDigest: 3,
  damage: 0,
}
const unknown: Expected = { kind: 'unknown' }

/** What three members have; undefined: nothing. */
function verdict(copies: readonly (Partial<ScrubbedObject> | undefined)[], expected: Expected = unknown) {
  const members = copies.map((copy, osd): MemberMap => {
    const objects = new Map(copy === undefined ? [] : [[objectKey(thing), { ...sound, ...copy }]])
    return { osd: osdId(osd), objects }
  })
  const [found] = compareScrubMaps(members, () => expected)
  if (found === undefined) return undefined
  const { good, bad, proven, remove, deep, shards } = found
  return { good, bad, proven, remove, deep, errors: shards.map((shard) => shard.errors.join()) }
}

describe('the comparison of copies', () => {
  it('finds nothing where all are equal', () => {
    expect(verdict([{}, {}, {}])).toBeUndefined()
    expect(verdict([{}, {}, {}], { kind: 'version', version: at(7) })).toBeUndefined()
  })

  it('takes a copy that fails its checksum for bad, even if it is the primary’s, or two of three', () => {
    const one = { good: [1, 2], bad: [0], proven: true, remove: false, deep: true, errors: ['read_error', '', ''] }
    expect(verdict([{ damage: scrubDamage.data }, {}, {}])).toEqual(one)
    expect(verdict([{ damage: scrubDamage.blockMap, dataDigest: 9 }, {}, {}])).toEqual(one)
    expect(verdict([{ damage: scrubDamage.data }, {}, { damage: scrubDamage.omap }])).toMatchObject({
      good: [1],
      bad: [0, 2],
      proven: true,
      errors: ['read_error', '', 'omap_read_error'],
    })
    expect(verdict([{}, { damage: scrubDamage.attributes, version: zeroVersion, sizeBytes: 0 }, {}])).toMatchObject({
      bad: [1],
      proven: true,
      deep: false,
      errors: ['', 'info_corrupted', ''],
    })
  })

  it('has no good copy where none is sound, and then replaces nothing', () => {
    const damage = scrubDamage.data
    expect(verdict([{ damage }, { damage }, { damage }])).toMatchObject({
      good: [],
      bad: [],
      errors: Array(3).fill('read_error'),
    })
  })

  it('does not call a sound copy that is outvoted proven to be bad', () => {
    const outvoted = { good: [0, 2], bad: [1], proven: false }
    expect(verdict([{}, { dataDigest: 4 }, {}])).toMatchObject({
      ...outvoted,
      errors: ['', 'data_digest_mismatch', ''],
    })
    expect(verdict([{}, { sizeBytes: 4, attributesDigest: 9 }, {}])).toMatchObject({
      ...outvoted,
      deep: false,
      errors: ['', 'size_mismatch,attr_value_mismatch', ''],
    })
    // Of two, the primary's is kept when somebody asks.
    expect(verdict([{}, { omapDigest: 4 }])).toMatchObject({ good: [0], bad: [1], proven: false })
  })

  it('believes the log, against the majority if need be', () => {
    const expected: Expected = { kind: 'version', version: at(8) }
    expect(verdict([{ version: at(8) }, {}, {}], expected)).toMatchObject({ good: [0], bad: [1, 2], proven: true })
    expect(verdict([undefined, undefined, { version: at(8) }], expected)).toMatchObject({
      good: [2],
      bad: [0, 1],
      proven: true,
    })
    expect(verdict([undefined, {}, undefined], { kind: 'removed' })).toMatchObject({
      bad: [1],
      remove: true,
      proven: true,
    })
  })

  it('brings back a copy that most members have, and asks where half of them have none', () => {
    expect(verdict([{}, undefined, {}])).toMatchObject({
      good: [0, 2],
      bad: [1],
      proven: true,
      errors: ['', 'missing', ''],
    })
    expect(verdict([{}, undefined])).toMatchObject({ good: [0], bad: [1], proven: false })
    expect(verdict([undefined, {}, undefined])).toMatchObject({ good: [1], bad: [0, 2], proven: false, remove: false })
  })

  it('drops a damaged record under a name that nobody knows', () => {
    expect(verdict([undefined, { damage: scrubDamage.attributes, version: zeroVersion }, undefined])).toMatchObject({
      bad: [1],
      remove: true,
      proven: true,
      errors: ['', 'unexpected', ''],
    })
  })
})

const hour = 3_600_000
const record = (scrubbedMs: number, deepScrubbedMs = scrubbedMs): ScrubRecord => ({
  scrubbedMs,
  deepScrubbedMs,
  inconsistent: [],
  unlisted: 0,
  checkDue: false,
})

describe('the schedule', () => {
  const next = (pg: string, scrubbed: ScrubRecord, nowMs: number, flags: ReadonlySet<never> = new Set()) =>
    nextScrub(pg as PgId, scrubbed, defaultScrubSettings, flags, nowMs)

  it('spreads groups that were scrubbed at one time over half a day', () => {
    const times = Array.from(
      { length: 200 },
      (_, i) => next(`1.${i.toString(16)}`, record(1_000_000), 0)!.atMs - 1_000_000,
    )
    expect(Math.min(...times)).toBeGreaterThanOrEqual(24 * hour)
    expect(Math.max(...times)).toBeLessThanOrEqual(36 * hour)
    for (let part = 0; part < 6; part++) {
      const low = (24 + 2 * part) * hour
      expect(times.filter((ms) => ms >= low && ms < low + 2 * hour).length).toBeGreaterThan(15)
    }
    expect(next('1.0', record(1_000_000), 5)).toEqual(next('1.0', record(1_000_000), 7))
  })

  it('goes deep when that is due, too, and becomes urgent when it is long overdue', () => {
    const old = record(0, -10 * 24 * hour)
    expect(next('1.0', old, 48 * hour)).toMatchObject({ deep: true, urgent: false })
    expect(next('1.0', record(0), 48 * hour)).toMatchObject({ deep: false, urgent: false })
    expect(next('1.0', record(0), 8 * 24 * hour)).toMatchObject({ urgent: true })
  })

  it('heeds the flags', () => {
    const flags = (...names: string[]) => new Set(names) as unknown as ReadonlySet<never>
    expect(next('1.0', record(0), 0, flags('noscrub', 'nodeep-scrub'))).toBeUndefined()
    expect(next('1.0', record(0, 100 * hour), 400 * hour, flags('nodeep-scrub'))).toMatchObject({ deep: false })
    expect(next('1.0', record(0), 0, flags('noscrub'))).toMatchObject({ deep: true })
  })
})

const listed: ScrubRecord = {
  scrubbedMs: 1_700_000_000_000,
  deepScrubbedMs: 1_600_000_000_000,
  inconsistent: [
    {
      object: thing,
      version: at(7),
      remove: false,
      shards: [
        {
          osd: 2 as OsdId,
          errors: ['read_error', 'size_mismatch'],
          sizeBytes: 9,
          version: at(7),
          attributesDigest: 1,
          omapDigest: 2,
          dataDigest: 3,
        },
      ],
      good: [osdId(0)],
      bad: [osdId(2)],
      proven: true,
      deep: false,
    },
  ],
  unlisted: 4,
  checkDue: true,
}

describe('the bytes', () => {
  it('of a record are what they were', () => {
    const step = setScrubRecord('1.0' as PgId, listed)
    if (step.kind !== 'meta-set') throw new Error('a record is set')
    const [entry] = step.entries
    expect(Buffer.from(entry!.key).toString()).toBe('s')
    expect(decodeScrubRecord(entry!.value)).toEqual(listed)
    expect(countScrubErrors(listed)).toBe(6)
    expect(Buffer.from(entry!.value).toString('hex')).toBe(
      [
        '01018700000000008056febc7842000000e8764877420100000001000000000000000500000000000000050000007468696e',
        '67ffffffffffff00000300000007000000000000000001000000020000000200000003060900000000000000030000000700',
        '0000000000000100000002000000030000000100000000000000010000000200000001000400000001',
      ].join(''),
    )
  })

  it('of every message come back', () => {
    const range = { after: undefined, until: thing, objectsMax: 50, bytesMax: 1 << 20, deep: true }
    const messages: readonly ScrubMessage[] = [
      { kind: 'reserve', priority: 5, round: 3 },
      { kind: 'reserved', round: 3 },
      { kind: 'release', round: 3 },
      { kind: 'request', chunk: 9, version: at(70), ...range },
      { kind: 'map', chunk: 9, errno: 0, objects: [sound], through: thing },
      { kind: 'mend', missing: [{ object: thing, need: at(7) }], remove: [thing] },
      { kind: 'record', record: listed, fresh: true },
    ]
    for (const message of messages) {
      const sealed = envelope('1.0' as PgId, epoch(4), { kind: 'scrub', message })
      expect(openEnvelope({ ...sealed, payload: [] })).toEqual({ kind: 'scrub', message })
    }
  })
})

describe('the comparison of shards', () => {
  const code = createErasureCode({ k: 2, m: 2 })
  const contents = [1, 2].map((seed) => Uint8Array.from({ length: 64 }, (_, byte) => (byte * seed + seed) & 0xff))
  const digests = [...contents, ...code.encode(contents)].map((chunk) => linearDigest(0, chunk))
  const member = (shard: number): OsdId => memberOf(osdId(10 + shard), shard)

  function shardVerdict(copies: readonly (Partial<ScrubbedObject> | undefined)[], expected: Expected = unknown) {
    const members = copies.map((copy, shard): MemberMap => {
      const whole = { ...sound, dataDigest: digests[shard] as number, ...copy }
      return { osd: member(shard), objects: new Map(copy === undefined ? [] : [[objectKey(thing), whole]]) }
    })
    const [found] = compareScrubMaps(members, () => expected, shardCheck(code))
    if (found === undefined) return undefined
    const { good, bad, proven, shards } = found
    return {
      good: good.map(shardOf),
      bad: bad.map(shardOf),
      proven,
      errors: shards.map((shard) => shard.errors.join()),
    }
  }

  it('finds nothing where parity belongs to the data, or nobody has read it', () => {
    expect(shardVerdict([{}, {}, {}, {}])).toBeUndefined()
    expect(shardVerdict([0, 1, 2, 3].map(() => ({ dataDigest: 0 })))).toBeUndefined()
  })

  it('has shards that fail their checksum made anew, as long as enough are left', () => {
    const damage = scrubDamage.data
    const two = { good: [1, 2], bad: [0, 3], proven: true, errors: ['read_error', '', '', 'read_error'] }
    expect(shardVerdict([{ damage }, {}, {}, { damage }])).toEqual(two)
    expect(shardVerdict([{ damage }, {}, { damage }, { damage }])).toMatchObject({ good: [1], bad: [], proven: false })
  })

  it('tells which single shard does not fit to the others, but does not call it proven', () => {
    for (const shard of [0, 1, 2, 3]) {
      const copies = [0, 1, 2, 3].map((one) => (one === shard ? { dataDigest: 0x01020304 } : {}))
      expect(shardVerdict(copies, { kind: 'version', version: at(7) })).toMatchObject({ bad: [shard], proven: false })
    }
  })

  it('lists all of them when it cannot tell which', () => {
    const found = shardVerdict([{ dataDigest: 1 }, {}, {}, undefined])
    const mismatch = 'data_digest_mismatch'
    expect(found).toEqual({ good: [], bad: [], proven: false, errors: [mismatch, mismatch, mismatch, 'missing'] })
    expect(shardVerdict([{ dataDigest: 1 }, { dataDigest: 2 }, {}, {}])).toMatchObject({ good: [], bad: [] })
  })

  it('still compares versions, attributes and sizes', () => {
    const expected: Expected = { kind: 'version', version: at(7) }
    expect(shardVerdict([{}, { version: at(6) }, {}, {}], expected)).toEqual({
      good: [0, 2, 3],
      bad: [1],
      proven: true,
      errors: ['', 'object_info_inconsistency', '', ''],
    })
    expect(shardVerdict([{}, {}, undefined, {}], expected)).toMatchObject({ bad: [2], proven: true })
  })
})
