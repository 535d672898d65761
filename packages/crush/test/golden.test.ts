/**
 * Vectors made by Ceph 16.2's crushtool and osdmaptool, for machines without them. To make them anew (with Ceph's
 * programs installed): SHOAL_UPDATE_VECTORS=1 npx vitest run packages/crush/test/golden.test.ts
 */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import {
  CrushMapper,
  crushCompile,
  crushDecompile,
  decodeCrushMap,
  encodeCrushMap,
  hash2,
  stableMod,
  stableModMask,
  strHashRjenkins,
} from '@shoal/crush'
import { describe, expect, test } from 'vitest'
import { MapWriter } from './support/random-map.ts'
import { ourOutput, randomRun, type TestRun, toolArguments } from './support/test-run.ts'
import { Workbench } from './support/tools.ts'

interface MapVector {
  readonly seed: number
  readonly text: string
  readonly binary: string
  readonly decompiled: string
  readonly run: TestRun
  readonly output: string
}

interface ObjectVectors {
  readonly crush: string
  readonly poolId: number
  readonly pgNum: number
  /** Name, PG seed, OSDs. */
  readonly objects: readonly (readonly [string, number, readonly number[]])[]
}

const mapsFile = new URL('vectors/maps.json', import.meta.url)
const objectsFile = new URL('vectors/objects.json', import.meta.url)

function makeMapVectors(bench: Workbench): MapVector[] {
  const vectors: MapVector[] = []
  for (let seed = 1; vectors.length < 28; seed++) {
    const { text, devices } = new MapWriter(seed).make({ devicesMax: 30 })
    const binary = bench.compile(text)
    if (binary === undefined) continue
    const run = randomRun(seed, devices, 40)
    vectors.push({
      seed,
      text,
      binary: Buffer.from(binary).toString('base64'),
      decompiled: bench.run('crushtool', ['-d', 'map.bin']).output,
      run,
      output: bench.run('crushtool', ['-i', 'map.bin', ...toolArguments(run)]).output,
    })
  }
  return vectors
}

function makeObjectVectors(bench: Workbench): ObjectVectors {
  const layers = ['--build', '--num_osds', '24', 'host', 'straw2', '3', 'rack', 'straw2', '2', 'root', 'straw2', '0']
  bench.run('crushtool', ['-o', 'build.bin', ...layers])
  bench.run('osdmaptool', ['om', '--createsimple', '24', '--with-default-pool', '--pg-bits', '5', '--pgp-bits', '5'])
  bench.run('osdmaptool', ['om', '--import-crush', 'build.bin'])
  const pgNum = Number(/pg_num (\d+)/.exec(bench.run('osdmaptool', ['om', '--print']).output)?.[1])
  const names = ['foo', 'a', 'rbd_data.10226b8b4567.0000000000000000', 'x'.repeat(11), 'x'.repeat(12), 'x'.repeat(13)]
  names.push('naïve', '対象', 'with space', 'y'.repeat(200))
  for (let i = 0; i < 30; i++)
    names.push(
      createHash('md5')
        .update(String(i))
        .digest('hex')
        .slice(0, 1 + i),
    )
  const objects = names.map((name): [string, number, number[]] => {
    const { output } = bench.run('osdmaptool', ['om', '--mark-up-in', '--test-map-object', name, '--pool', '1'])
    const found = /-> 1\.([0-9a-f]+) -> \[([0-9,]*)\]/.exec(output)
    return [name, Number.parseInt(found?.[1] ?? '', 16), (found?.[2] ?? '').split(',').map(Number)]
  })
  return { crush: Buffer.from(bench.read('build.bin')).toString('base64'), poolId: 1, pgNum, objects }
}

if (process.env['SHOAL_UPDATE_VECTORS'] !== undefined) {
  const bench = new Workbench()
  writeFileSync(mapsFile, `${JSON.stringify(makeMapVectors(bench), undefined, 1)}\n`)
  writeFileSync(objectsFile, `${JSON.stringify(makeObjectVectors(bench), undefined, 1)}\n`)
  bench.close()
}

const maps = JSON.parse(readFileSync(mapsFile, 'utf8')) as MapVector[]
const objects = JSON.parse(readFileSync(objectsFile, 'utf8')) as ObjectVectors

describe('maps by crushtool', () => {
  test.each(maps)('seed $seed', ({ text, binary, decompiled, run, output }) => {
    const bytes = new Uint8Array(Buffer.from(binary, 'base64'))
    expect(Buffer.from(encodeCrushMap(crushCompile(text))).toString('base64')).toBe(binary)
    const map = decodeCrushMap(bytes)
    expect(crushDecompile(map)).toBe(decompiled)
    expect(ourOutput(map, run)).toBe(output)
  })
})

test('objects by osdmaptool', () => {
  const { crush, poolId, pgNum } = objects
  const map = decodeCrushMap(new Uint8Array(Buffer.from(crush, 'base64')))
  const mapper = new CrushMapper(map)
  const weights = new Uint32Array(map.maxDevices).fill(0x1_0000)
  const mask = stableModMask(pgNum)
  expect(objects.objects.length).toBe(40)
  for (const [name, seed, osds] of objects.objects) {
    const hash = strHashRjenkins(new TextEncoder().encode(name))
    expect(stableMod(hash, pgNum, mask), name).toBe(seed)
    const input = hash2(stableMod(seed, pgNum, mask), poolId)
    expect(mapper.map(0, input, 3, weights, poolId), name).toEqual(osds)
  }
})
