/**
 * Vectors made by Ceph 16.2's jerasure, for machines without it: for every code that Ceph has (k >= 2, k + m <= 32) its
 * coding matrix (the parity of unit vectors), and for each code a checksum of the shards of a random object. To make them anew
 * (Debian: ceph-osd): SHOAL_UPDATE_VECTORS=1 npx vitest run packages/erasure/test/golden.test.ts
 */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { concatBytes, Prng } from '@shoal/base'
import { createErasureCode, splitStripes } from '@shoal/erasure'
import { expect, test } from 'vitest'
import { Workbench } from './support/tools.ts'

interface Vector {
  readonly k: number
  readonly m: number
  /** In hexadecimal, row by row. */
  readonly matrix: string
  /** sha256 of all shards, one behind the other. */
  readonly shards: string
}

const file = new URL('vectors/jerasure.json', import.meta.url)
const chunkBytes = 32

/** One stripe whose chunk i has a one at place i: its parity j has the matrix's cell (j, i) there. Random ones behind it. */
function objectOf(k: number, m: number): Uint8Array {
  const units = new Uint8Array(k * chunkBytes)
  for (let i = 0; i < k; i++) units[i * chunkBytes + i] = 1
  return concatBytes([units, new Prng(100 * k + m).bytes(3 * k * chunkBytes - 5)])
}

function vectorOf(k: number, m: number, shards: readonly Uint8Array[]): Vector {
  const rows = shards.slice(k).map((parity) => Buffer.from(parity.subarray(0, k)).toString('hex'))
  return { k, m, matrix: rows.join(' '), shards: createHash('sha256').update(concatBytes(shards)).digest('hex') }
}

function* codes(): Generator<readonly [number, number]> {
  for (let k = 2; k < 32; k++) for (let m = 1; m <= 32 - k; m++) yield [k, m]
}

function makeVectors(): Vector[] {
  const bench = new Workbench()
  const vectors = [...codes()].map(([k, m]) => vectorOf(k, m, bench.encode({ k, m }, chunkBytes, objectOf(k, m))))
  bench.close()
  return vectors
}

if (process.env['SHOAL_UPDATE_VECTORS'] !== undefined) {
  const lines = makeVectors().map((vector) => JSON.stringify(vector))
  writeFileSync(file, `[\n${lines.join(',\n')}\n]\n`)
}

const vectors = JSON.parse(readFileSync(file, 'utf8')) as readonly Vector[]

test('every code that Ceph has', () => {
  expect(vectors.map(({ k, m }) => [k, m])).toEqual([...codes()])
  for (const vector of vectors) {
    const { k, m } = vector
    const data = splitStripes({ k, chunkBytes }, objectOf(k, m))
    expect(vectorOf(k, m, [...data, ...createErasureCode({ k, m }).encode(data)])).toEqual(vector)
  }
})
