/** Two diffs as one: the same image comes of it, whatever was there before. */
import { type DiffRecord, mergeDiffs, openDiff } from '@shoal/image-streams'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { applied, diffs, gather } from './support.ts'

async function* each(records: readonly DiffRecord[]): AsyncGenerator<DiffRecord> {
  yield* records
}

async function merged(first: readonly DiffRecord[], second: readonly DiffRecord[]): Promise<readonly DiffRecord[]> {
  return gather(mergeDiffs(await openDiff(each(first)), await openDiff(each(second))))
}

const between = (records: readonly DiffRecord[], from: string | undefined, to: string): readonly DiffRecord[] => [
  ...(from === undefined ? [] : [{ kind: 'from' as const, snapshot: from }]),
  { kind: 'to', snapshot: to },
  ...records.filter(({ kind }) => kind !== 'from' && kind !== 'to'),
]

test('leaves the image that both leave one after the other', async () => {
  await fc.assert(
    fc.asyncProperty(diffs, diffs, fc.uint8Array({ maxLength: 200 }), async (a, b, image) => {
      const [first, second] = [between(a, 'one', 'two'), between(b, 'two', 'three')]
      const both = await merged(first, second)
      const expected = applied(applied(image.slice(), first), second)
      expect(applied(image.slice(), both)).toEqual(expected)
      expect(both.slice(0, 3)).toEqual([
        { kind: 'from', snapshot: 'one' },
        { kind: 'to', snapshot: 'three' },
        { kind: 'size', sizeBytes: expected.length },
      ])
      expect(both.at(-1)).toEqual({ kind: 'end' })
    }),
  )
})

test('has its records in order, none over another, so that it can be merged again', async () => {
  await fc.assert(
    fc.asyncProperty(diffs, diffs, async (a, b) => {
      let at = 0
      for (const record of await merged(between(a, undefined, 'two'), between(b, 'two', 'three'))) {
        if (record.kind !== 'data' && record.kind !== 'zero') continue
        expect(record.offset).toBeGreaterThanOrEqual(at)
        at = record.offset + (record.kind === 'data' ? record.data.length : record.length)
      }
    }),
  )
})

test('an image that shrank in between and grew again does not keep what its receiver had there', async () => {
  const first = between([{ kind: 'size', sizeBytes: 4 }, { kind: 'end' }], 'one', 'two')
  const second = between([{ kind: 'size', sizeBytes: 8 }, { kind: 'end' }], 'two', 'three')
  const image = applied(new Uint8Array(8).fill(7), await merged(first, second))
  expect(image).toEqual(Uint8Array.of(7, 7, 7, 7, 0, 0, 0, 0))
})

describe('refuses', () => {
  const end: readonly DiffRecord[] = [{ kind: 'size', sizeBytes: 8 }, { kind: 'end' }]

  test('diffs that do not follow each other', async () => {
    await expect(merged(between(end, 'one', 'two'), between(end, 'one', 'two'))).rejects.toMatchObject({
      code: 'EINVAL',
      message: 'the first diff ends with snapshot two, the second one begins with snapshot one',
    })
    await expect(merged(end, between(end, 'one', 'two'))).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(merged(between(end, 'one', 'two'), end)).rejects.toMatchObject({ code: 'EINVAL' })
  })

  test('records that go back', async () => {
    const back = between(
      [
        { kind: 'size', sizeBytes: 8 },
        { kind: 'zero', offset: 4, length: 2 },
        { kind: 'zero', offset: 5, length: 1 },
        { kind: 'end' },
      ],
      'one',
      'two',
    )
    const message = 'the first diff goes back from byte 6 of the image to 5'
    await expect(merged(back, between(end, 'two', 'three'))).rejects.toMatchObject({ code: 'EINVAL', message })
  })

  test('a diff without a size', async () => {
    await expect(openDiff(each([{ kind: 'end' }]))).rejects.toMatchObject({ code: 'EINVAL' })
  })
})
