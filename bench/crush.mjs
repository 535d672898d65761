// CRUSH mappings per second on one core, ours and crushtool's in turn: 100 OSDs on 10 hosts, straw2, 3 replicas.
//   npm run build && node bench/crush.mjs [--record]
// crushtool maps the same inputs with --show-bad-mappings (so that it prints nothing); its start-up is measured by a run
// over one input and taken off.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { CrushMapper, crushCompile, encodeCrushMap } from '../packages/crush/dist/index.js'

const hosts = 10
const osdsPerHost = 10
const replicas = 3
const mappings = 600_000
const rounds = 3
const tool = 'crushtool'

function mapText() {
  const lines = [
    'tunable choose_local_tries 0',
    'tunable choose_local_fallback_tries 0',
    'tunable choose_total_tries 50',
  ]
  lines.push('tunable chooseleaf_descend_once 1', 'tunable chooseleaf_vary_r 1', 'tunable chooseleaf_stable 1')
  const osds = hosts * osdsPerHost
  for (let id = 0; id < osds; id++) lines.push(`device ${id} osd.${id}`)
  lines.push('type 0 osd', 'type 1 host', 'type 2 root')
  for (let host = 0; host < hosts; host++) {
    lines.push(`host host${host} { alg straw2 hash 0`)
    for (let i = 0; i < osdsPerHost; i++) lines.push(`item osd.${host * osdsPerHost + i} weight 1.000`)
    lines.push('}')
  }
  lines.push('root default { alg straw2 hash 0')
  for (let host = 0; host < hosts; host++) lines.push(`item host${host}`)
  lines.push('}', 'rule data { id 0 type replicated min_size 1 max_size 10')
  lines.push('step take default', 'step chooseleaf firstn 0 type host', 'step emit }')
  return lines.join('\n')
}

function seconds(run) {
  const start = performance.now()
  run()
  return (performance.now() - start) / 1000
}

function ours(map) {
  const mapper = new CrushMapper(map)
  const weights = new Uint32Array(map.maxDevices).fill(0x1_0000)
  let placed = 0
  const spent = seconds(() => {
    for (let x = 0; x < mappings; x++) placed += mapper.map(0, x, replicas, weights).length
  })
  if (placed !== mappings * replicas) throw new Error(`${placed} placed`)
  return mappings / spent
}

function crushtool(file) {
  const run = (maxX) => {
    const range = ['--num-rep', String(replicas), '--min-x', '0', '--max-x', String(maxX)]
    const { status, error } = spawnSync(tool, ['-i', file, '--test', '--show-bad-mappings', ...range])
    if (error !== undefined || status !== 0) throw new Error('crushtool failed (Debian: ceph-base)')
  }
  const start = seconds(() => run(0))
  return mappings / (seconds(() => run(mappings - 1)) - start)
}

const map = crushCompile(mapText())
const directory = mkdtempSync(join(tmpdir(), 'shoal-bench-'))
const file = join(directory, 'map.bin')
writeFileSync(file, encodeCrushMap(map))
const hasTool = spawnSync(tool, ['--version']).error === undefined
const best = { ours: 0, crushtool: 0 }
for (let round = 1; round <= rounds; round++) {
  const row = { ours: Math.round(ours(map)), crushtool: hasTool ? Math.round(crushtool(file)) : undefined }
  best.ours = Math.max(best.ours, row.ours)
  best.crushtool = Math.max(best.crushtool, row.crushtool ?? 0)
  console.log(`round ${round}: ours ${row.ours} mappings/s, crushtool ${row.crushtool ?? 'not installed'}`)
}
rmSync(directory, { recursive: true })
console.log(`best: ours ${best.ours} mappings/s, crushtool ${best.crushtool}`)

if (process.argv.includes('--record')) {
  const results = new URL('results/', import.meta.url)
  mkdirSync(results, { recursive: true })
  const record = {
    workload: `${hosts * osdsPerHost} OSDs on ${hosts} hosts, straw2, ${replicas} replicas, one core`,
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    cpu: cpus()[0]?.model,
    mappingsPerSecond: { ours: best.ours, crushtool: hasTool ? best.crushtool : null },
  }
  writeFileSync(new URL('crush.json', results), `${JSON.stringify(record, undefined, 2)}\n`)
}
