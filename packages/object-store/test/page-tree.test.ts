/** The sealed tree is a key-value store like any other, and keeps its shape through what is put in and taken out. */
import { compareBytes, type Env, hexEncode, type KeyValueOp, type KeyValueStore, Prng } from '@shoal/base'
import { MemoryKeyValueStores, makeSimEnv } from '@shoal/testkit'
import { keyValueConformance } from '@shoal/testkit/conformance'
import { expect, test } from 'vitest'
import { PageTree } from '../src/page-tree.ts'
import { PageCipher } from '../src/record-cipher.ts'

const cipher = (): PageCipher => new PageCipher(new Uint8Array(32).fill(3), new Prng(1))

keyValueConformance('sealed pages', async () => {
  const { env } = makeSimEnv({ seed: 1 })
  const sealed: Env = {
    ...env,
    keyValue: { open: async (path) => PageTree.open(await env.keyValue.open(path), cipher()) },
  }
  return { env: sealed, directory: '/d', run: (work) => work(), close: async () => undefined }
})

test('equals a map through growth, overwriting, removal and reopening; emptied, it leaves nothing behind', async () => {
  const below = await new MemoryKeyValueStores().open('/kv')
  const prng = new Prng(4)
  let tree = await PageTree.open(below, cipher())
  const model = new Map<string, string>()
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
  const row = ([key, value]: readonly [Uint8Array, Uint8Array]): string => `${hexEncode(key)}=${hexEncode(value)}`
  for (let round = 0; round < 60; round++) {
    const ops: KeyValueOp[] = []
    const shrinking = round > 35
    for (let i = prng.below(200); i >= 0; i--) {
      const key = `key-${prng.below(4000)}`
      if (prng.below(10) < (shrinking ? 9 : 3)) {
        ops.push({ kind: 'delete', key: bytes(key) })
        model.delete(key)
      } else {
        const value = 'v'.repeat(prng.below(prng.below(50) === 0 ? 9000 : 200))
        ops.push({ kind: 'put', key: bytes(key), value: bytes(value) })
        model.set(key, value)
      }
    }
    const reading = tree.entries({ from: bytes('key-2') })
    await tree.batch(ops, { sync: false })
    await reading
    if (round % 10 === 0) tree = await PageTree.open(below, cipher())
    const sorted = [...model].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => [bytes(k), bytes(v)] as const)
    expect((await tree.entries({})).map(row).join()).toBe(sorted.map(row).join())
    const from = bytes(`key-${prng.below(4000)}`)
    const above = sorted.filter(([key]) => compareBytes(key, from) >= 0).map(row)
    expect((await tree.entries({ from, limit: 7 })).map(row).join()).toBe(above.slice(0, 7).join())
    expect((await tree.entries({ from, limit: 7, reverse: true })).map(row).join()).toBe(
      above.reverse().slice(0, 7).join(),
    )
  }
  const all = await tree.entries({})
  await tree.batch(
    all.map(([key]) => ({ kind: 'delete', key })),
    { sync: true },
  )
  expect(await below.entries({})).toHaveLength(1)
})

test('another key opens nothing, and a page under the number of another is noticed', async () => {
  const below = await new MemoryKeyValueStores().open('/kv')
  const tree = await PageTree.open(below, cipher())
  const ops: KeyValueOp[] = Array.from({ length: 500 }, (_, i) => ({
    kind: 'put',
    key: new Uint8Array([i >> 8, i]),
    value: new Uint8Array(50).fill(i),
  }))
  await tree.batch(ops, { sync: true })
  const other = new PageCipher(new Uint8Array(32).fill(4), new Prng(1))
  await expect(PageTree.open(below, other)).rejects.toMatchObject({ code: 'ECHECKSUM' })
  const [first, second] = await below.entries({ limit: 2 })
  await below.batch([{ kind: 'put', key: first?.[0] as Uint8Array, value: second?.[1] as Uint8Array }], { sync: true })
  const again = await PageTree.open(below, cipher())
  await expect(again.entries({})).rejects.toMatchObject({ code: 'ECHECKSUM' })
})

test('keys that are longer than half a page have pages like others, and go like others', async () => {
  const below = await new MemoryKeyValueStores().open('/kv')
  const tree = await PageTree.open(below, cipher())
  const keyOf = (i: number): Uint8Array =>
    new Uint8Array(i % 3 === 0 ? 9_000 : 2_100)
      .fill(7)
      .fill(i >> 8, 0, 1)
      .fill(i, 1, 2)
  const numbers = Array.from({ length: 300 }, (_, i) => i)
  for (const part of [numbers.filter((i) => i % 2 === 0), numbers.filter((i) => i % 2 === 1)]) {
    await tree.batch(
      part.map((i) => ({ kind: 'put', key: keyOf(i), value: new Uint8Array([i]) })),
      { sync: false },
    )
  }
  expect((await tree.entries({})).map(([key]) => hexEncode(key))).toEqual(numbers.map((i) => hexEncode(keyOf(i))))
  expect(await tree.get(keyOf(171))).toEqual(new Uint8Array([171]))
  for (const i of numbers) await tree.batch([{ kind: 'delete', key: keyOf(i) }], { sync: false })
  expect(await below.entries({})).toHaveLength(1)
})

test('a reader whose page was taken waits for the batch that took it', async () => {
  const below = await new MemoryKeyValueStores().open('/kv')
  let held: Promise<void> | undefined
  const slow: KeyValueStore = {
    get: (key) => below.get(key),
    entries: (range) => below.entries(range),
    close: () => below.close(),
    batch: async (ops, options) => {
      await below.batch(ops, options)
      await held
    },
  }
  const put = (value: number): readonly KeyValueOp[] => [
    { kind: 'put', key: new Uint8Array([1]), value: new Uint8Array([value]) },
  ]
  await (await PageTree.open(below, cipher())).batch(put(1), { sync: false })
  // Nothing is remembered: it reads below, where the batch has taken the page already.
  const tree = await PageTree.open(slow, cipher(), 0)
  let release = (): void => undefined
  held = new Promise((resolve) => {
    release = resolve
  })
  const batch = tree.batch(put(2), { sync: false })
  await new Promise((resolve) => setImmediate(resolve))
  const reading = tree.get(new Uint8Array([1]))
  await new Promise((resolve) => setImmediate(resolve))
  release()
  await batch
  expect(await reading).toEqual(new Uint8Array([2]))
})
