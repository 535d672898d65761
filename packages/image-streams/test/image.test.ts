/** Streams of images with their snapshots. */
import { isClusterError } from '@shoal/base'
import { decodeStream, encodeImage, type ImageRecord, readImage } from '@shoal/image-streams'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bytesOf, chunked, chunkSizes, gather, stream, text } from './support.ts'

const records: readonly ImageRecord[] = [
  { kind: 'order', order: 22 },
  { kind: 'features', bits: 61 },
  { kind: 'stripe-unit', bytes: 4194304 },
  { kind: 'stripe-count', count: 1 },
  { kind: 'metadata', key: 'k', value: 'value' },
  { kind: 'diffs', count: 2 },
  { kind: 'to', snapshot: 'a' },
  { kind: 'protected', isProtected: false },
  { kind: 'size', sizeBytes: 100 },
  { kind: 'data', offset: 7, data: Uint8Array.of(9) },
  { kind: 'end' },
  { kind: 'from', snapshot: 'a' },
  { kind: 'size', sizeBytes: 200 },
  { kind: 'zero', offset: 0, length: 50 },
  { kind: 'end' },
]

const header = stream(
  'rbd image v2\n',
  'O',
  8,
  22,
  'T',
  8,
  61,
  'U',
  8,
  4194304,
  'C',
  8,
  1,
  'M',
  14,
  text('k'),
  text('value'),
  'E',
)
const golden = stream(
  header,
  'rbd image diffs v2\n',
  2,
  'rbd diff v2\n',
  't',
  5,
  text('a'),
  'p',
  8,
  Uint8Array.of(0),
  's',
  8,
  100,
  'w',
  17,
  7,
  1,
  Uint8Array.of(9),
  'e',
  'rbd diff v2\n',
  'f',
  5,
  text('a'),
  's',
  8,
  200,
  'z',
  16,
  0,
  50,
  'e',
)

const decode = (bytes: Uint8Array, sizes: readonly number[]): Promise<ImageRecord[]> =>
  gather(decodeStream(chunked(bytes, sizes), readImage))

test('the bytes', async () => {
  expect(await bytesOf(encodeImage(records))).toEqual(golden)
})

test('what is written is read, however the bytes are cut', async () => {
  await fc.assert(
    fc.asyncProperty(chunkSizes, async (sizes) => {
      expect(await decode(golden, sizes)).toEqual(records)
    }),
  )
})

test('the documented record of the format, and any other that is unknown, is skipped', async () => {
  const bytes = stream('rbd image v2\n', 'F', 8, 2, 'E', 'rbd image diffs v2\n', 1, 'rbd diff v2\n', 's', 8, 1, 'e')
  expect(await decode(bytes, [4])).toEqual([
    { kind: 'diffs', count: 1 },
    { kind: 'size', sizeBytes: 1 },
    { kind: 'end' },
  ])
})

test('ends too early: told at every byte', async () => {
  for (let length = 0; length < golden.length; length++) {
    const error: unknown = await decode(golden.subarray(0, length), [11]).catch((thrown: unknown) => thrown)
    expect(isClusterError(error, 'EINVAL'), `cut at ${length}`).toBe(true)
    expect((error as Error).message).toContain('the stream ends')
  }
})

describe('refuses', () => {
  const refused = async (...diffs: readonly (string | number | Uint8Array)[]): Promise<string> => {
    const error: unknown = await decode(stream(header, 'rbd image diffs v2\n', ...diffs), [9]).catch(
      (thrown: unknown) => thrown,
    )
    expect(isClusterError(error, 'EINVAL')).toBe(true)
    return (error as Error).message
  }
  const first = stream('rbd diff v2\n', 't', 5, text('a'), 's', 8, 1, 'e')

  test('a diff that does not begin where the one before ended', async () => {
    const other = stream('rbd diff v2\n', 'f', 5, text('b'), 's', 8, 1, 'e')
    expect(await refused(2, first, other)).toContain('begins with snapshot b, the one before ended with snapshot a')
    expect(await refused(1, other)).toContain('begins with snapshot b, the one before ended with nothing')
  })

  test('a chain that does not end with the head, or has a hole', async () => {
    expect(await refused(1, first)).toContain('not with the head')
    expect(await refused(2, stream('rbd diff v2\n', 's', 8, 1, 'e'))).toContain('ends with no snapshot')
  })

  test('no diff at all, and what follows the last', async () => {
    expect(await refused(0)).toContain('not even that of the head')
    expect(await refused(1, 'rbd diff v2\n', 's', 8, 1, 'e', 'x')).toContain('goes on behind it')
  })

  test('objects of a size that no image has', async () => {
    const error: unknown = await decode(stream('rbd image v2\n', 'O', 8, 40), [9]).catch((thrown: unknown) => thrown)
    expect(isClusterError(error, 'EINVAL')).toBe(true)
  })
})
