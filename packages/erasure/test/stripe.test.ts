/** The layout of ECUtil: worked examples, and what must hold for all layouts. */
import { ClusterError, Prng } from '@shoal/base'
import {
  chunkOffsetToLogical,
  isStripeAligned,
  joinStripes,
  locate,
  logicalOffset,
  nextChunkOffset,
  nextStripeOffset,
  previousChunkOffset,
  previousStripeOffset,
  shardExtents,
  splitStripes,
  stripeBounds,
  stripeWidth,
} from '@shoal/erasure'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const layout = { k: 4, chunkBytes: 4096 }
const layouts = fc.record({ k: fc.integer({ min: 1, max: 31 }), chunkBytes: fc.integer({ min: 1, max: 70 }) })
const offsets = fc.integer({ min: 0, max: 5000 })

describe('4 units of 4 KiB', () => {
  test('stripes', () => {
    expect(stripeWidth(layout)).toBe(16_384)
    expect([0, 1, 16_384].map((at) => isStripeAligned(layout, at))).toEqual([true, false, true])
    expect([0, 1, 16_383, 16_384].map((at) => previousStripeOffset(layout, at))).toEqual([0, 0, 0, 16_384])
    expect([0, 1, 16_384, 16_385].map((at) => nextStripeOffset(layout, at))).toEqual([0, 16_384, 16_384, 32_768])
    expect([0, 16_383, 16_384].map((at) => previousChunkOffset(layout, at))).toEqual([0, 0, 4096])
    expect([0, 1, 16_384, 16_385].map((at) => nextChunkOffset(layout, at))).toEqual([0, 4096, 4096, 8192])
    expect(chunkOffsetToLogical(layout, 8192)).toBe(32_768)
    expect(stripeBounds(layout, { offset: 16_000, length: 1000 })).toEqual({ offset: 0, length: 32_768 })
    expect(stripeBounds(layout, { offset: 16_384, length: 0 })).toEqual({ offset: 16_384, length: 0 })
  })

  test('a byte', () => {
    expect(locate(layout, 16_384 + 4096 + 5)).toEqual({ shard: 1, shardOffset: 4096 + 5 })
    expect(logicalOffset(layout, 1, 4096 + 5)).toBe(16_384 + 4096 + 5)
  })

  test('a range across units and stripes', () => {
    expect(shardExtents(layout, { offset: 12_000, length: 6000 })).toEqual([
      { shard: 2, shardOffset: 3808, offset: 12_000, length: 288 },
      { shard: 3, shardOffset: 0, offset: 12_288, length: 4096 },
      { shard: 0, shardOffset: 4096, offset: 16_384, length: 1616 },
    ])
    expect(shardExtents(layout, { offset: 5, length: 0 })).toEqual([])
  })

  test('offsets beyond 32 bits', () => {
    const offset = 2 ** 45 + 4096 + 7
    expect(locate(layout, offset)).toEqual({ shard: 1, shardOffset: 2 ** 43 + 7 })
    expect(logicalOffset(layout, 1, 2 ** 43 + 7)).toBe(offset)
  })
})

test('a byte is found again where it was put', () => {
  fc.assert(
    fc.property(layouts, offsets, (layout, offset) => {
      const { shard, shardOffset } = locate(layout, offset)
      expect(logicalOffset(layout, shard, shardOffset)).toBe(offset)
      expect(shard).toBeLessThan(layout.k)
      expect(shardOffset).toBeGreaterThanOrEqual(previousChunkOffset(layout, offset))
      expect(shardOffset).toBeLessThan(nextChunkOffset(layout, offset + 1))
    }),
  )
})

test('the extents of a range are all of it, in order, and lie within its stripes', () => {
  fc.assert(
    fc.property(layouts, offsets, fc.integer({ min: 0, max: 3000 }), (layout, offset, length) => {
      let at = offset
      const bounds = stripeBounds(layout, { offset, length })
      for (const extent of shardExtents(layout, { offset, length })) {
        expect(extent.offset).toBe(at)
        expect(locate(layout, at)).toEqual({ shard: extent.shard, shardOffset: extent.shardOffset })
        at += extent.length
      }
      expect(at).toBe(offset + length)
      expect(bounds.offset).toBeLessThanOrEqual(offset)
      expect(bounds.offset + bounds.length).toBeGreaterThanOrEqual(offset + length)
      expect(isStripeAligned(layout, bounds.offset) && isStripeAligned(layout, bounds.length)).toBe(true)
    }),
  )
})

test('stripes that are split and joined are what they were', () => {
  fc.assert(
    fc.property(layouts, offsets, (layout, sizeBytes) => {
      const bytes = new Prng(sizeBytes).bytes(sizeBytes)
      const shards = splitStripes(layout, bytes)
      expect(new Set(shards.map((shard) => shard.length))).toEqual(new Set([nextChunkOffset(layout, sizeBytes)]))
      expect(joinStripes(layout, shards, sizeBytes)).toEqual(bytes)
    }),
  )
})

test('padding is zeros', () => {
  expect(splitStripes({ k: 2, chunkBytes: 2 }, Uint8Array.of(1, 2, 3))).toEqual([
    Uint8Array.of(1, 2),
    Uint8Array.of(3, 0),
  ])
})

test('shards that do not fit are refused', () => {
  const shard = new Uint8Array(4)
  const join = (shards: Uint8Array[], sizeBytes: number) => () =>
    joinStripes({ k: 2, chunkBytes: 4 }, shards, sizeBytes)
  expect(join([shard], 4)).toThrow(ClusterError)
  expect(join([shard, new Uint8Array(8)], 4)).toThrow(ClusterError)
  expect(join([shard, shard], 9)).toThrow('9 bytes of shards that hold 8')
})
