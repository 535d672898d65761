/** Properties of mapping that hold on every map, and the bounds that hostile maps meet. */
import { Prng } from '@shoal/base'
import {
  type CrushMap,
  CrushMapper,
  createErasureRule,
  createOrMove,
  createReplicatedRule,
  crushCompile,
  crushItemNone,
  decodeCrushMap,
  emptyCrushMap,
  encodeCrushMap,
  hash3,
  stableMod,
  stableModMask,
} from '@shoal/crush'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { coarseLogs, fineLogs } from '../src/generated/log-tables.ts'
import { crushLn, drawNumerators } from '../src/logarithm.ts'
import { hash3Pair } from '../src/rjenkins.ts'
import { MapWriter } from './support/random-map.ts'

function cluster(hosts: number, osdsPerHost: number): CrushMap {
  let map = emptyCrushMap()
  for (let osd = 0; osd < hosts * osdsPerHost; osd++) {
    const host = `node-${Math.floor(osd / osdsPerHost)}`
    map = createOrMove(map, osd, `osd.${osd}`, 1, { root: 'default', host })
  }
  map = createReplicatedRule(map, { name: 'replicated', root: 'default', failureDomain: 'host' })
  return createErasureRule(map, { name: 'erasure', root: 'default', failureDomain: 'host' })
}

const five = cluster(5, 4)
const allIn = new Uint32Array(20).fill(0x1_0000)
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })

describe('rules', () => {
  const mapper = new CrushMapper(five)

  test('no two replicas share a host', () => {
    fc.assert(
      fc.property(uint32, (x) => {
        const osds = mapper.map(0, x, 3, allIn)
        expect(new Set(osds.map((osd) => Math.floor(osd / 4))).size).toBe(3)
      }),
    )
  })

  test('firstn moves later replicas up when one goes out; indep keeps positions', () => {
    fc.assert(
      fc.property(uint32, (x) => {
        const replicas = mapper.map(0, x, 3, allIn)
        const shards = mapper.map(1, x, 4, allIn)
        const out = allIn.slice()
        out[replicas[0] as number] = 0
        expect(mapper.map(0, x, 3, out)).not.toContain(replicas[0])
        const without = allIn.slice()
        without[shards[1] as number] = 0
        const after = mapper.map(1, x, 4, without)
        expect(after[1]).not.toBe(shards[1])
        expect(after.filter((osd, i) => osd === shards[i]).length).toBeGreaterThanOrEqual(2)
      }),
    )
  })

  test('more replicas than hosts: firstn returns fewer, indep leaves holes', () => {
    expect(mapper.map(0, 7, 8, allIn).length).toBe(5)
    const shards = mapper.map(1, 7, 8, allIn)
    expect(shards.length).toBe(8)
    expect(shards.filter((osd) => osd === crushItemNone).length).toBe(3)
  })

  test('an unknown rule, no replicas, nothing in: no devices', () => {
    expect(mapper.map(9, 1, 3, allIn)).toEqual([])
    expect(mapper.map(0, 1, 0, allIn)).toEqual([])
    expect(mapper.map(0, 1, 3, [])).toEqual([])
  })

  test('one call leaves nothing behind for the next', () => {
    for (let seed = 0; seed < 20; seed++) {
      let map: CrushMap
      try {
        map = crushCompile(new MapWriter(seed).make().text)
      } catch {
        continue
      }
      const weights = new Uint32Array(map.maxDevices).fill(0x1_0000)
      const reused = new CrushMapper(map)
      const random = new Prng(seed)
      for (let i = 0; i < 50; i++) {
        const x = random.below(4) === 0 ? 0 : random.uint32()
        const fresh = new CrushMapper(map).map(0, x, 3, weights, 0)
        expect(reused.map(0, x, 3, weights, 0)).toEqual(fresh)
      }
    }
  })

  test('a device gets about its share of the weight', () => {
    const counts = new Float64Array(20)
    const weights = allIn.slice()
    weights[3] = 0x8000
    for (let x = 0; x < 20_000; x++)
      for (const osd of mapper.map(0, x, 1, weights)) counts[osd] = (counts[osd] ?? 0) + 1
    for (const [osd, count] of counts.entries()) {
      expect(count).toBeGreaterThan(osd === 3 ? 350 : 850)
      expect(count).toBeLessThan(osd === 3 ? 750 : 1250)
    }
  })
})

describe('hostile maps', () => {
  test('billions of tries end, and without the devices there are not', () => {
    const rules = five.rules.map(
      (rule) => rule && { ...rule, steps: [{ op: 8, arg1: 0x7fff_ffff, arg2: 0 }, ...rule.steps] },
    )
    const tunables = { ...five.tunables, chooseTotalTries: 0xffff_fffe, chooseleafDescendOnce: 0 }
    const mapper = new CrushMapper({ ...five, rules, tunables })
    expect(mapper.map(0, 1, 6, allIn).length).toBe(5)
    expect(mapper.map(1, 1, 6, allIn).filter((osd) => osd === crushItemNone).length).toBe(1)
    expect(mapper.map(0, 1, 3, new Uint32Array(20))).toEqual([])
  })

  test('a bucket within itself is refused', () => {
    const buckets = five.buckets.map((bucket) =>
      bucket?.algorithm === 'straw2'
        ? { ...bucket, items: bucket.items.map((item) => (item < 0 ? -1 : item)) }
        : bucket,
    )
    const looped = { ...five, buckets }
    expect(() => new CrushMapper(looped)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => decodeCrushMap(encodeCrushMap(looped))).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })

  test('bytes that were changed or cut either decode to a map that maps, or are refused', () => {
    const random = new Prng(11)
    const weights = new Uint32Array(64).fill(0x1_0000)
    let decoded = 0
    for (let seed = 0; seed < 15; seed++) {
      let bytes: Uint8Array
      try {
        bytes = encodeCrushMap(crushCompile(new MapWriter(seed).make({ devicesMax: 12 }).text))
      } catch {
        continue
      }
      for (let i = 0; i < 25; i++) {
        const changed = bytes.slice(0, random.below(4) === 0 ? random.below(bytes.length) : bytes.length)
        for (let k = random.below(4); k >= 0; k--) {
          if (changed.length > 0)
            changed[random.below(changed.length)] = random.below(3) === 0 ? 0xff : random.below(256)
        }
        try {
          const map = decodeCrushMap(changed)
          decoded++
          const mapper = new CrushMapper(map)
          for (const id of map.rules.keys()) mapper.map(id, i, 3, weights, 0)
        } catch (error) {
          expect(error).toMatchObject({ name: 'ClusterError' })
        }
      }
    }
    expect(decoded).toBeGreaterThan(30)
  })
})

describe('arithmetic', () => {
  test('the logarithm tables are the definition, but for what Ceph has in them', () => {
    for (const [k, log] of coarseLogs.slice(0, 128).entries()) {
      expect(Math.abs(log - 2 ** 48 * Math.log2(1 + k / 128))).toBeLessThan(2)
    }
    expect(coarseLogs[128]).toBe(0xffff_0000_0000)
    expect(coarseLogs.length).toBe(129)
    expect(fineLogs.length).toBe(256)
    // The fine table is off by up to 2^-15 of the full scale.
    for (const [k, log] of fineLogs.entries()) {
      expect(Math.abs(log - 2 ** 48 * Math.log2(1 + k / 2 ** 15))).toBeLessThan(2 ** 33)
    }
  })

  /** crush_ln as Ceph writes it, in 64-bit integers. */
  function bigLn(u: number): bigint {
    let x = BigInt(u + 1)
    let exponent = 15n
    while ((x & 0x1_8000n) === 0n) {
      x <<= 1n
      exponent--
    }
    const index = Number(x >> 8n) - 128
    const reciprocal = ((1n << 55n) + BigInt(127 + index)) / BigInt(128 + index)
    const fine = Number(((x * reciprocal) >> 48n) & 0xffn)
    return (exponent << 44n) + ((BigInt(coarseLogs[index] as number) + BigInt(fineLogs[fine] as number)) >> 4n)
  }

  test('the logarithm in doubles is the one in 64-bit integers, for every input', () => {
    const numerators = drawNumerators()
    for (let u = 0; u < 0x1_0000; u++) {
      if (BigInt(crushLn(u)) !== bigLn(u)) expect(crushLn(u), `input ${u}`).toBe(Number(bigLn(u)))
      if (numerators[u] !== 2 ** 48 - crushLn(u)) expect(numerators[u]).toBe(2 ** 48 - crushLn(u))
    }
  })

  test('a draw in doubles is the quotient of 64-bit integers', () => {
    const numerators = drawNumerators()
    const weight = fc.oneof(fc.integer({ min: 1, max: 0x7fff_ffff }), fc.integer({ min: 1, max: 0x2_0000 }))
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff }), weight, (u, divisor) => {
        const numerator = numerators[u] as number
        expect(BigInt(Math.trunc(numerator / divisor))).toBe(BigInt(numerator) / BigInt(divisor))
        expect(BigInt(Math.trunc(numerator / -divisor))).toBe(BigInt(numerator) / BigInt(-divisor))
        // The hardest cases: just below and at a multiple of the divisor.
        const multiple = Math.floor(numerator / divisor) * divisor
        for (const near of [multiple - 1, multiple, multiple + 1]) {
          expect(BigInt(Math.trunc(near / divisor))).toBe(BigInt(near) / BigInt(divisor))
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('two hashes at once are the two hashes', () => {
    fc.assert(
      fc.property(uint32, uint32, uint32, uint32, (a, b, other, c) => {
        const pair = hash3Pair(a, b | 0, other | 0, c)
        expect(pair & 0xffff).toBe(hash3(a, b, c) & 0xffff)
        expect(pair >>> 16).toBe(hash3(a, other, c) & 0xffff)
      }),
    )
  })

  test('stableMod moves only the seeds that split', () => {
    fc.assert(
      fc.property(uint32, fc.integer({ min: 1, max: 4096 }), (x, count) => {
        const before = stableMod(x, count, stableModMask(count))
        const after = stableMod(x, count + 1, stableModMask(count + 1))
        expect(before).toBeLessThan(count)
        expect(after === before || after === count).toBe(true)
      }),
    )
  })
})
