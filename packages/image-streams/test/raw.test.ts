/** Bare bytes: cut into pieces, holes found, and together again. */
import { readRaw, writeRaw } from '@shoal/image-streams'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesOf, chunked, chunkSizes, gather } from './support.ts'

const contents = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 1, max: 30 })), { maxLength: 12 })
  .map((runs) => Uint8Array.from(runs.flatMap(([value, length]) => new Array<number>(length).fill(value))))

test('every byte comes once, in order, cut at pieces, with holes of whole granules', async () => {
  await fc.assert(
    fc.asyncProperty(contents, chunkSizes, async (bytes, sizes) => {
      const records = await gather(readRaw(chunked(bytes, sizes), 32, 8))
      let at = 0
      for (const record of records) {
        const length = record.kind === 'data' ? record.data.length : record.length
        expect(record.offset).toBe(at)
        expect(Math.floor(at / 32)).toBe(Math.floor((at + length - 1) / 32))
        const data = bytes.subarray(at, at + length)
        if (record.kind === 'zero') expect(data.every((byte) => byte === 0)).toBe(true)
        else {
          expect(record.data).toEqual(data)
          for (let i = 0; i < length; i += 8) expect(data.subarray(i, i + 8).some((byte) => byte !== 0)).toBe(true)
        }
        at += length
      }
      expect(at).toBe(bytes.length)
      expect(await bytesOf(writeRaw(chunkRecords(records), bytes.length))).toEqual(bytes)
    }),
  )
})

async function* chunkRecords<T>(records: readonly T[]): AsyncGenerator<T> {
  yield* records
}

test('an image that nothing was written to is zeros to its end', async () => {
  const bytes = await bytesOf(writeRaw(chunkRecords([]), 2 * 1024 * 1024 + 5))
  expect(bytes.length).toBe(2 * 1024 * 1024 + 5)
  expect(bytes.every((byte) => byte === 0)).toBe(true)
})
