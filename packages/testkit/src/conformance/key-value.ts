/** The contract of {@link KeyValueStore} as tests: register them for each implementation. */
import {
  compareBytes,
  hexEncode,
  type KeyRange,
  type KeyValueOp,
  type KeyValueStore,
  Prng,
  utf8Decode,
  utf8Encode,
} from '@shoal/base'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ConformanceSubject, MakeSubject } from './subject.ts'

const put = (key: Uint8Array, text: string): KeyValueOp => ({ kind: 'put', key, value: utf8Encode(text) })
const key = (...bytes: number[]): Uint8Array => new Uint8Array(bytes)

export function keyValueConformance(name: string, makeSubject: MakeSubject): void {
  describe(`key-value store: ${name}`, () => {
    let subject: ConformanceSubject
    beforeEach(async () => {
      subject = await makeSubject()
    })
    afterEach(() => subject.close())

    const withStore = (work: (store: KeyValueStore) => Promise<void>): Promise<void> =>
      subject.run(async () => {
        const store = await subject.env.keyValue.open(`${subject.directory}/kv`)
        await work(store)
        await store.close()
      })

    test('keys are ordered as unsigned bytes; ranges are half open', () =>
      withStore(async (store) => {
        await store.batch(
          [key(200), key(3), key(3, 0), key(100), key(0)].map((each) => put(each, hexEncode(each))),
          { sync: true },
        )
        const found = async (range: KeyRange): Promise<readonly string[]> =>
          (await store.entries(range)).map(([, value]) => utf8Decode(value))
        expect(await found({})).toEqual(['00', '03', '0300', '64', 'c8'])
        expect(await found({ from: key(3), to: key(200) })).toEqual(['03', '0300', '64'])
        expect(await found({ from: key(3, 0), limit: 1 })).toEqual(['0300'])
        expect(await found({ to: key(200), reverse: true, limit: 2 })).toEqual(['64', '0300'])
        expect(await found({ from: key(201) })).toEqual([])
      }))

    test('a batch applies in order: the last word on a key counts', () =>
      withStore(async (store) => {
        await store.batch([put(key(1), 'a'), { kind: 'delete', key: key(1) }, put(key(2), 'b'), put(key(2), 'c')], {
          sync: false,
        })
        expect(await store.get(key(1))).toBeUndefined()
        expect(utf8Decode((await store.get(key(2))) as Uint8Array)).toBe('c')
        await store.batch([{ kind: 'delete', key: key(9) }], { sync: true })
      }))

    test('values of every size come back; an empty one is not a missing one', () =>
      withStore(async (store) => {
        const random = new Prng(2)
        const values = [0, 1, 4096, 300_000].map((size) => random.bytes(size))
        await store.batch(
          values.map((value, i) => ({ kind: 'put', key: key(i), value })),
          { sync: false },
        )
        for (const [i, value] of values.entries()) {
          expect(Buffer.compare((await store.get(key(i))) as Uint8Array, value)).toBe(0)
        }
      }))

    test('random batches leave what a map would hold, in pages', () => withStore(comparesWithMap))

    test('a store is open once', () =>
      subject.run(async () => {
        const path = `${subject.directory}/kv`
        const store = await subject.env.keyValue.open(path)
        await expect(subject.env.keyValue.open(path)).rejects.toMatchObject({ code: 'EBUSY' })
        await store.batch([put(key(1), 'kept')], { sync: true })
        await store.close()
        const again = await subject.env.keyValue.open(path)
        expect(utf8Decode((await again.get(key(1))) as Uint8Array)).toBe('kept')
        await again.close()
      }))
  })
}

async function comparesWithMap(store: KeyValueStore): Promise<void> {
  const random = new Prng(3)
  const model = new Map<string, Uint8Array>()
  for (let i = 0; i < 100; i++) {
    const ops: KeyValueOp[] = []
    for (let n = random.below(20); n > 0; n--) {
      const where = random.bytes(1 + random.below(2))
      if (random.below(3) === 0) {
        ops.push({ kind: 'delete', key: where })
        model.delete(hexEncode(where))
      } else {
        const value = random.bytes(random.below(30))
        ops.push({ kind: 'put', key: where, value })
        model.set(hexEncode(where), value)
      }
    }
    await store.batch(ops, { sync: i % 10 === 0 })
  }
  const paged: (readonly [string, string])[] = []
  let from = new Uint8Array(0)
  for (;;) {
    const page = await store.entries({ from, limit: 7 })
    paged.push(...page.map(([where, value]) => [hexEncode(where), hexEncode(value)] as const))
    const last = page.at(-1)
    if (last === undefined) break
    expect(compareBytes(from, last[0])).toBeLessThanOrEqual(0)
    from = new Uint8Array([...last[0], 0])
  }
  expect(paged).toEqual(
    [...model]
      .map(([where, value]) => [where, hexEncode(value)])
      .sort((a, b) => ((a[0] as string) < (b[0] as string) ? -1 : 1)),
  )
}
