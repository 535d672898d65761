/** Streams that a real `rbd` 16.2.15 made, with the hashes of what it exported: `node scripts/show-rbd-streams.mjs record`. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type DiffRecord,
  decodeStream,
  encodeDiff,
  encodeImage,
  mergeDiffs,
  openDiff,
  readDiff,
  readImage,
} from '@shoal/image-streams'
import { expect, test } from 'vitest'
import { applied, bytesOf, chunked, decodeDiff, gather } from './support.ts'

const recorded = (name: string): Uint8Array => new Uint8Array(readFileSync(join(import.meta.dirname, 'recorded', name)))
const hashes = JSON.parse(new TextDecoder().decode(recorded('sha256.json'))) as Readonly<Record<string, string>>
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

test('each diff leads from the image of one snapshot to that of the next', async () => {
  let image: Uint8Array = new Uint8Array(0)
  for (const name of ['0-a', 'a-b', 'b-c', 'c-head']) {
    const [from, to] = name.split('-') as [string, string]
    const records = await decodeDiff(recorded(`${name}.diff`), [777])
    const head: DiffRecord[] = []
    if (from !== '0') head.push({ kind: 'from', snapshot: from })
    if (to !== 'head') head.push({ kind: 'to', snapshot: to })
    expect(records.slice(0, head.length)).toEqual(head)
    image = applied(image, records)
    expect(sha256(image), name).toBe(hashes[to])
  }
})

test.each(['0-a', 'a-b', 'b-c', 'c-head'])('%s is written as rbd wrote it', async (name) => {
  const bytes = recorded(`${name}.diff`)
  expect(await bytesOf(encodeDiff(1, await decodeDiff(bytes)))).toEqual(bytes)
})

test('two diffs are merged as rbd merges them', async () => {
  const open = (name: string) => openDiff(decodeStream(chunked(recorded(name), [100_000]), readDiff))
  const merged = mergeDiffs(await open('a-b.diff'), await open('b-c.diff'))
  expect(await bytesOf(encodeDiff(1, merged))).toEqual(recorded('a-c.diff'))
})

test('the image with its snapshots is what each of them was, and is written as rbd wrote it', async () => {
  const bytes = recorded('image.v2')
  const records = await gather(decodeStream(chunked(bytes, [bytes.length]), readImage))
  expect(records.slice(0, 6)).toEqual([
    { kind: 'order', order: 12 },
    { kind: 'features', bits: 61 },
    { kind: 'stripe-unit', bytes: 4096 },
    { kind: 'stripe-count', count: 1 },
    { kind: 'metadata', key: 'owner', value: 'someone' },
    { kind: 'diffs', count: 4 },
  ])
  let image: Uint8Array = new Uint8Array(0)
  let diff: DiffRecord[] = []
  for (const record of records.slice(6) as DiffRecord[]) {
    diff.push(record)
    if (record.kind !== 'end') continue
    image = applied(image, diff)
    const to = diff.find(({ kind }) => kind === 'to') as { readonly snapshot: string } | undefined
    expect(sha256(image)).toBe(hashes[to?.snapshot ?? 'head'])
    diff = []
  }
  expect(await bytesOf(encodeImage(records))).toEqual(bytes)
})
