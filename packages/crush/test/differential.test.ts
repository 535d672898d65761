/** Ours against Ceph's crushtool on random maps: the same bytes, the same text, the same mappings, the same refusals. */
import { ClusterError, Prng } from '@shoal/base'
import {
  addBucket,
  addItem,
  type CrushLocation,
  type CrushMap,
  createErasureRule,
  createReplicatedRule,
  crushCompile,
  crushDecompile,
  decodeCrushMap,
  encodeCrushMap,
  moveItem,
  removeItem,
  removeRule,
  reweightItem,
  updateItem,
} from '@shoal/crush'
import { afterAll, describe, expect, test } from 'vitest'
import { MapWriter } from './support/random-map.ts'
import { ourOutput, printed, randomRun, toolArguments } from './support/test-run.ts'
import { toolMissing, Workbench } from './support/tools.ts'

/** Random in CI too: a failure names its seed, which goes to the list of old ones. */
const firstSeed = Number(process.env['SHOAL_CRUSH_SEED'] ?? 1 + Math.floor(Math.random() * 1_000_000))
const mapCount = Number(process.env['SHOAL_CRUSH_MAPS'] ?? 60)

function compiledOrRefused(text: string): CrushMap | ClusterError {
  try {
    return crushCompile(text)
  } catch (error) {
    if (error instanceof ClusterError) return error
    throw error
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

describe.skipIf(toolMissing('crushtool'))('as crushtool', () => {
  const bench = new Workbench()
  afterAll(() => bench.close())

  test(`compile, decompile and map random maps (seeds from ${firstSeed})`, () => {
    for (let seed = firstSeed; seed < firstSeed + mapCount; seed++) {
      const { text, devices } = new MapWriter(seed).make()
      const theirs = bench.compile(text)
      const ours = compiledOrRefused(text)
      expect(ours instanceof ClusterError, `seed ${seed}: refused`).toBe(theirs === undefined)
      if (ours instanceof ClusterError || theirs === undefined) continue
      expect(same(encodeCrushMap(ours), theirs), `seed ${seed}: compiled bytes`).toBe(true)
      const map = decodeCrushMap(theirs)
      const decompiled = bench.run('crushtool', ['-d', 'map.bin']).output
      expect(crushDecompile(map), `seed ${seed}: decompiled`).toBe(decompiled)
      const run = randomRun(seed, devices, 120)
      const expected = bench.run('crushtool', ['-i', 'map.bin', ...toolArguments(run)]).output
      expect(ourOutput(map, run), `seed ${seed}: mappings`).toBe(expected)
    }
  })

  test('refuses broken texts when crushtool does', () => {
    const random = new Prng(firstSeed)
    let refused = 0
    for (let seed = firstSeed; seed < firstSeed + mapCount; seed++) {
      const { text } = new MapWriter(seed).make({ devicesMax: 10 })
      const lines = text.split('\n')
      const at = random.below(lines.length)
      const line = lines[at] as string
      const broken = [
        '',
        line.slice(0, random.below(line.length + 1)),
        `${line} ${['{', '}', 'weight', '7', '-3', 'x'][random.below(6)]}`,
        line.replace(/[0-9]+/, ['99999999999', '-1', 'zz', '0'][random.below(4)] as string),
        lines[random.below(lines.length)] as string,
      ]
      lines[at] = broken[random.below(broken.length)] as string
      const changed = lines.join('\n')
      bench.write('map.txt', changed)
      const result = bench.run('crushtool', ['-c', 'map.txt', '-o', 'map.bin'])
      // What makes crushtool crash tells nothing; ids in the billions make it allocate as much.
      if (result.status === undefined || /(?:id|device|type|rule)\s+-?9999/.test(lines[at])) continue
      const ours = compiledOrRefused(changed)
      expect(ours instanceof ClusterError, `seed ${seed}, line ${at + 1}: ${lines[at]}`).toBe(result.status !== 0)
      if (ours instanceof ClusterError) {
        refused++
        expect(ours.code).toBe('EINVAL')
        expect(ours.message).toMatch(/^line \d+: /)
        expect(ours.hint).toBeTruthy()
      } else {
        expect(same(encodeCrushMap(ours), bench.read('map.bin')), `seed ${seed}, line ${at + 1}`).toBe(true)
      }
    }
    expect(refused).toBeGreaterThan(0)
  })

  test('takes the same options', () => {
    const { text } = new MapWriter(77).make({ classes: false })
    const bytes = bench.compile(text) as Uint8Array
    const map = decodeCrushMap(bytes)
    const check = (args: readonly string[], options: Parameters<typeof printed>[1]): void => {
      expect(printed(map, options), args.join(' ')).toBe(
        bench.run('crushtool', ['-i', 'map.bin', '--test', ...args]).output,
      )
    }
    check(['--show-mappings', '--x', '12345678', '--rule', '0'], { showMappings: true, x: 12345678, rule: 0 })
    check(['--show-mappings', '--max-x', '9'], { showMappings: true, maxX: 9 })
    check(['--show-statistics', '--rule', '99'], { showStatistics: true, rule: 99 })
    check(['--show-utilization-all', '--num-rep', '2'], { showUtilizationAll: true, numRep: 2 })
    check(['--show-utilization', '--min-x', '0', '--max-x', '30000', '--rule', '0'], {
      showUtilization: true,
      minX: 0,
      maxX: 30000,
      rule: 0,
    })
  })

  test('edits random maps', () => {
    let edited = 0
    for (let seed = firstSeed; seed < firstSeed + mapCount; seed++) {
      // Without weight sets and trees: when it edits those, crushtool reads memory of its own that it has never set.
      const { text } = new MapWriter(seed).make({ devicesMax: 15, chooseArgs: false, trees: false })
      const bytes = bench.compile(text)
      if (bytes === undefined) continue
      const map = decodeCrushMap(bytes)
      const { args, edit } = randomEdit(map, seed)
      const result = bench.run('crushtool', ['-i', 'map.bin', ...args, '-o', 'edited.bin'])
      if (result.status === undefined) continue
      let ours: CrushMap | undefined
      try {
        ours = edit()
      } catch (error) {
        expect(error).toBeInstanceOf(ClusterError)
      }
      const what = `seed ${seed}: ${args.join(' ')}`
      // Ours treats a move to the present place as done; crushtool as a failure.
      if (result.status !== 0) expect(ours === undefined || ours === map, what).toBe(true)
      else expect(ours !== undefined && same(encodeCrushMap(ours), bench.read('edited.bin')), what).toBe(true)
      if (result.status === 0) edited++
    }
    expect(edited).toBeGreaterThan(0)
  })
})

function randomEdit(map: CrushMap, seed: number): { args: string[]; edit: () => CrushMap } {
  const random = new Prng(seed)
  const pick = <T>(from: readonly T[]): T => from[random.below(from.length)] as T
  const named = [...map.names].filter(([, name]) => !name.includes('~'))
  const buckets = named.filter(([id]) => id < 0).map(([, name]) => name)
  const location: Record<string, string> = {}
  for (const type of ['host', 'rack', 'room', 'root']) {
    if (random.below(3) === 0) continue
    const known = buckets.filter((name) => name.startsWith(type))
    location[type] = known.length > 0 && random.below(3) > 0 ? pick(known) : `new${type}`
  }
  if (Object.keys(location).length === 0) location['root'] = 'newroot'
  const place: CrushLocation = location
  const loc = Object.entries(location).flatMap(([type, name]) => ['--loc', type, name])
  const weight = pick([0, 1, 2.5, 0.33, 7.125])
  const name = pick(named)[1]
  const root = pick(buckets)
  const type = pick(['osd', 'host', 'rack'])
  const deviceClass = random.below(2) === 0 ? undefined : pick(['ssd', 'hdd'])
  const ofClass = deviceClass === undefined ? [] : ['--device-class', deviceClass]
  const rule = { name: 'fresh', root, failureDomain: type, ...(deviceClass === undefined ? {} : { deviceClass }) }
  return pick([
    {
      args: ['--add-item', '77', String(weight), 'osd.77', ...loc],
      edit: () => addItem(map, 77, 'osd.77', weight, place),
    },
    {
      args: ['--update-item', '0', String(weight), 'osd.0', ...loc],
      edit: () => updateItem(map, 0, 'osd.0', weight, place),
    },
    { args: ['--reweight-item', name, String(weight)], edit: () => reweightItem(map, name, weight) },
    { args: ['--remove-item', name], edit: () => removeItem(map, name) },
    { args: ['--add-bucket', 'fresh', 'rack', ...loc], edit: () => addBucket(map, 'fresh', 'rack', place) },
    { args: ['--move', name, ...loc], edit: () => moveItem(map, name, place) },
    { args: ['--remove-rule', 'rule-0'], edit: () => removeRule(map, 'rule-0') },
    {
      args: ['--create-replicated-rule', 'fresh', root, type, ...ofClass],
      edit: () => createReplicatedRule(map, rule),
    },
    {
      args: ['--create-simple-rule', 'fresh', root, type, 'indep', ...ofClass],
      edit: () => {
        const made = createErasureRule(map, rule)
        // crushtool makes it with the steps of an erasure rule, but calls it replicated.
        const rules = made.rules.map((r, i) => (r !== map.rules[i] && r !== undefined ? { ...r, type: 1 } : r))
        return { ...made, rules }
      },
    },
  ])
}
