/**
 * Ours against Ceph's jerasure: the same shards of random objects, and each reads what the other wrote. A failure names its
 * seed (SHOAL_ERASURE_SEED).
 */
import { Prng } from '@shoal/base'
import { createErasureCode, joinStripes, splitStripes } from '@shoal/erasure'
import { afterAll, describe, expect, test } from 'vitest'
import { toolMissing, Workbench } from './support/tools.ts'

const firstSeed = Number(process.env['SHOAL_ERASURE_SEED'] ?? 1 + Math.floor(Math.random() * 1_000_000))
const objectCount = Number(process.env['SHOAL_ERASURE_OBJECTS'] ?? 25)
const units = [32, 64, 96, 4096, 16_384]

function randomObject(seed: number) {
  const random = new Prng(seed)
  const k = 2 + random.below(30)
  const m = 1 + random.below(32 - k)
  const chunkBytes = units[random.below(units.length)] as number
  const object = random.bytes(1 + random.below(4 * k * Math.min(chunkBytes, 4096)))
  const shards = Array.from({ length: k + m }, (_, shard) => ({ shard, key: random.uint32() }))
  const survivors = shards.toSorted((a, b) => a.key - b.key).slice(0, k)
  return { k, m, chunkBytes, object, survivors: survivors.map(({ shard }) => shard) }
}

describe.skipIf(toolMissing())('as jerasure', () => {
  const bench = new Workbench()
  afterAll(() => bench.close())

  test(`shards of random objects (seeds from ${firstSeed})`, () => {
    for (let seed = firstSeed; seed < firstSeed + objectCount; seed++) {
      const { k, m, chunkBytes, object, survivors } = randomObject(seed)
      const layout = { k, chunkBytes }
      const code = createErasureCode({ k, m })
      const data = splitStripes(layout, object)
      const ours = [...data, ...code.encode(data)]
      const theirs = bench.encode({ k, m }, chunkBytes, object)
      const what = `seed ${seed}: k=${k} m=${m} unit ${chunkBytes}`
      for (const [shard, bytes] of theirs.entries()) {
        expect(Buffer.compare(bytes, ours[shard] as Uint8Array), `${what}, shard ${shard}`).toBe(0)
      }

      const have = new Map(survivors.map((shard) => [shard, theirs[shard] as Uint8Array]))
      const decoded = code.decode(have, data.keys())
      const read = joinStripes(layout, [...decoded.values()], object.length)
      expect(Buffer.compare(read, object), `${what}: ours of ${survivors.join(' ')}`).toBe(0)

      const written = new Map(survivors.map((shard) => [shard, ours[shard] as Uint8Array]))
      const readBack = bench.decode({ k, m }, chunkBytes, written).subarray(0, object.length)
      expect(Buffer.compare(readBack, object), `${what}: theirs of ${survivors.join(' ')}`).toBe(0)
    }
  })
})
