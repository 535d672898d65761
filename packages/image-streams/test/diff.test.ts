/** Diff streams: the bytes, any chunking, and what a damaged stream is told. */
import { isClusterError } from '@shoal/base'
import type { DiffRecord } from '@shoal/image-streams'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chunkSizes, decodeDiff, diffBytes, diffs, joined, stream, text } from './support.ts'

const records: readonly DiffRecord[] = [
  { kind: 'from', snapshot: 'monday' },
  { kind: 'to', snapshot: 'tuesday' },
  { kind: 'size', sizeBytes: 8192 },
  { kind: 'data', offset: 512, data: Uint8Array.of(1, 2, 3) },
  { kind: 'zero', offset: 4096, length: 4096 },
  { kind: 'end' },
]

const golden1 = stream(
  'rbd diff v1\n',
  'f',
  text('monday'),
  't',
  text('tuesday'),
  's',
  8192,
  'w',
  512,
  3,
  Uint8Array.of(1, 2, 3),
  'z',
  4096,
  4096,
  'e',
)

const golden2 = stream(
  'rbd diff v2\n',
  'f',
  10,
  text('monday'),
  't',
  11,
  text('tuesday'),
  'p',
  8,
  Uint8Array.of(1),
  's',
  8,
  8192,
  'w',
  19,
  512,
  3,
  Uint8Array.of(1, 2, 3),
  'z',
  16,
  4096,
  4096,
  'e',
)

const protectedRecord: DiffRecord = { kind: 'protected', isProtected: true }
const records2: readonly DiffRecord[] = [...records.slice(0, 2), protectedRecord, ...records.slice(2)]

describe('bytes', () => {
  test('of version 1', async () => {
    expect(await diffBytes(1, records)).toEqual(golden1)
    expect(await decodeDiff(golden1)).toEqual(records)
  })

  test('of version 2', async () => {
    expect(await diffBytes(2, records2)).toEqual(golden2)
    expect(await decodeDiff(golden2)).toEqual(records2)
  })

  test('of protection with the length that it has, as well as with the one that `rbd` says', async () => {
    const honest = stream('rbd diff v2\n', 'p', 1, Uint8Array.of(1), 's', 8, 10, 'e')
    expect(await decodeDiff(honest)).toEqual([protectedRecord, { kind: 'size', sizeBytes: 10 }, { kind: 'end' }])
  })

  test('of a record that version 2 has and this reader does not know: skipped', async () => {
    const bytes = stream('rbd diff v2\n', 's', 8, 10, 'Q', 5, Uint8Array.of(1, 2, 3, 4, 5), 'e')
    expect(await decodeDiff(bytes, [3])).toEqual([{ kind: 'size', sizeBytes: 10 }, { kind: 'end' }])
  })
})

test('what is written is read, however the bytes are cut', async () => {
  await fc.assert(
    fc.asyncProperty(diffs, fc.constantFrom(1 as const, 2 as const), chunkSizes, async (diff, version, sizes) => {
      const read = await decodeDiff(await diffBytes(version, diff), sizes)
      expect(joined(read)).toEqual(joined(diff))
    }),
  )
})

test('payload is not copied, and no more of it held than came', async () => {
  const chunk = golden1.slice()
  const data = (await decodeDiff(chunk)).find((record) => record.kind === 'data')
  expect(data?.data.buffer).toBe(chunk.buffer)
})

describe('a stream that ends too early', () => {
  test.each([
    [1, golden1],
    [2, golden2],
  ])('version %d, at every byte', async (_version, golden) => {
    for (let length = 0; length < golden.length; length++) {
      const error: unknown = await decodeDiff(golden.subarray(0, length), [7]).catch((thrown: unknown) => thrown)
      expect(isClusterError(error, 'EINVAL'), `cut at ${length}`).toBe(true)
      const { message } = error as Error
      expect(message).toMatch(
        /^(the banner|record \d+( \("."\))?), which begins at byte \d+ of the stream: the stream ends/,
      )
      const recordAt = Number(/begins at byte (\d+)/.exec(message)?.[1])
      expect(recordAt).toBeLessThanOrEqual(length)
      const saysEnd = /ends at byte (\d+)/.exec(message)?.[1]
      if (saysEnd !== undefined) expect(Number(saysEnd)).toBe(length)
    }
  })
})

describe('refuses', () => {
  const refused = async (bytes: Uint8Array): Promise<string> => {
    const error: unknown = await decodeDiff(bytes, [5]).catch((thrown: unknown) => thrown)
    expect(isClusterError(error, 'EINVAL')).toBe(true)
    return (error as Error).message
  }

  test('another banner', async () => {
    expect(await refused(stream('rbd diff v3\ne'))).toContain('it is not that of a diff')
  })

  test('an unknown tag in version 1', async () => {
    expect(await refused(stream('rbd diff v1\n', 's', 1, 'Q'))).toBe(
      'record 2 ("Q"), which begins at byte 21 of the stream: there is no record with such a tag',
    )
  })

  test('an extent outside of the image', async () => {
    expect(await refused(stream('rbd diff v1\n', 's', 10, 'z', 8, 3, 'e'))).toContain(
      'outside of the image of 10 bytes',
    )
    expect(await refused(stream('rbd diff v1\n', 's', 10, 'w', 8, 3, 'abc', 'e'))).toContain('it ends at 11')
  })

  test('metadata that comes twice, or behind data', async () => {
    expect(await refused(stream('rbd diff v1\n', 's', 10, 's', 10, 'e'))).toContain('there has been such a record')
    expect(await refused(stream('rbd diff v1\n', 's', 10, 'z', 0, 3, 't', text('a'), 'e'))).toContain('before data')
  })

  test('a diff that does not tell the size', async () => {
    expect(await refused(stream('rbd diff v1\n', 't', text('a'), 'e'))).toContain('told the size')
    expect(await refused(stream('rbd diff v1\n', 'z', 0, 3, 'e'))).toContain('told the size')
  })

  test('a length in version 2 that contradicts the record', async () => {
    expect(await refused(stream('rbd diff v2\n', 's', 9, 10, 'e'))).toContain('its body has 8 bytes, and says 9')
    expect(await refused(stream('rbd diff v2\n', 's', 8, 10, 'w', 18, 0, 3, 'abc', 'e'))).toContain('has 19 bytes')
  })

  test('numbers and names beyond what an image has', async () => {
    const huge = Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 127)
    expect(await refused(stream('rbd diff v1\n', 's', huge))).toContain('its size is 9223372036854775807')
    expect(await refused(stream('rbd diff v1\n', 'f', Uint8Array.of(1, 16, 0, 0)))).toContain('4097 bytes')
    expect(await refused(stream('rbd diff v1\n', 'f', text('')))).toContain('names no snapshot')
    expect(await refused(stream('rbd diff v1\n', 'f', Uint8Array.of(1, 0, 0, 0, 255)))).toContain('not UTF-8')
  })

  test('what follows the end', async () => {
    expect(await refused(stream('rbd diff v1\n', 's', 10, 'ee'))).toContain('goes on behind it, at byte 22')
  })

  test('protection in version 1', async () => {
    expect(await refused(stream('rbd diff v1\n', 'p', Uint8Array.of(1)))).toContain('version 1 has no such record')
  })
})
