/**
 * Ours beside a real Ceph 16.2 of the same machine and the same shape: three OSDs of 12 GiB, three copies, 32 placement
 * groups. Both run all the time, and fio goes to one after the other, row by row: A B A B. Ceph without its client's cache
 * is what compares: its acknowledgement then means what ours does, that all copies have it on disk; Ceph with its cache is
 * told beside. Debian's packages are installed where they are missing.
 *
 *   npm run build && npx tsx --conditions=source bench/vs-ceph.ts [--record] [--rounds N] [--seconds N] [--ramp N]
 *     [--mib N] [--rows TEXT] [--only shoal]
 *
 * `--rows`: those whose name has the text. `--only shoal`: ours alone, to see that the harness works.
 */

import { argument, report, round } from './support/local-cluster.ts'
import { startCeph } from './vs-ceph/ceph-cluster.ts'
import { install } from './vs-ceph/command.ts'
import { fill, type Measured, measure, rows } from './vs-ceph/fio.ts'
import type { Rival, Shape } from './vs-ceph/rival.ts'
import { startShoal } from './vs-ceph/shoal-cluster.ts'

const rounds = Number(argument('--rounds') ?? 2)
const seconds = Number(argument('--seconds') ?? 15)
const rampSeconds = Number(argument('--ramp') ?? 5)
const wanted = argument('--rows') ?? ''
const shape: Shape = { osds: 3, osdGib: 12, size: 3, pgNum: 32, imageMib: Number(argument('--mib') ?? 2048) }
const alone = argument('--only') === 'shoal'

interface Line extends Measured {
  readonly row: string
  readonly cluster: string
  /** Ours against Ceph without its cache: operations per second, and the 99th percentile. */
  readonly timesCeph?: number
  readonly p99OfCeph?: number
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const at = sorted.length >> 1
  const [low, high] = [sorted[at - (1 - (sorted.length % 2))] ?? 0, sorted[at] ?? 0]
  return (low + high) / 2
}

function medianOf(runs: readonly Measured[]): Measured {
  const of = (what: keyof Measured): number => round(median(runs.map((one) => one[what])), 2)
  return {
    iops: of('iops'),
    mbPerSecond: of('mbPerSecond'),
    meanMs: of('meanMs'),
    p99Ms: of('p99Ms'),
    cpuUsPerOp: of('cpuUsPerOp'),
    osdRssMb: of('osdRssMb'),
  }
}

async function compare(rivals: readonly Rival[]): Promise<readonly Line[]> {
  const lines: Line[] = []
  for (const row of rows.filter(({ name }) => name.includes(wanted))) {
    const runs = new Map<string, Measured[]>()
    for (let i = 0; i < rounds; i++) {
      for (const rival of rivals) {
        const measured = await measure(rival, row, rampSeconds, seconds)
        process.stderr.write(`${row.name}: ${rival.name} ${JSON.stringify(measured)}\n`)
        runs.set(rival.name, [...(runs.get(rival.name) ?? []), measured])
      }
    }
    const ceph = runs.has('ceph') ? medianOf(runs.get('ceph') ?? []) : undefined
    for (const [cluster, measured] of runs) {
      const median = medianOf(measured)
      const ratios =
        ceph === undefined || cluster !== 'shoal'
          ? {}
          : { timesCeph: round(median.iops / ceph.iops, 2), p99OfCeph: round(median.p99Ms / ceph.p99Ms, 2) }
      lines.push({ row: row.name, cluster, ...median, ...ratios })
    }
  }
  return lines
}

const ending: (() => Promise<void>)[] = []
async function endAll(): Promise<void> {
  for (let end = ending.pop(); end !== undefined; end = ending.pop()) await end()
}

// Ceph's daemons are nobody's children, and would stay.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void endAll().finally(() => process.exit(1)))
}
try {
  await install(alone ? ['fio'] : ['fio', 'ceph-osd', 'ceph-mon', 'ceph-mgr', 'ceph-common'])
  const shoal = await startShoal(shape, ending)
  const rivals = [shoal]
  if (!alone) {
    const ceph = await startCeph(shape, ending)
    rivals.push(ceph.rival(false), ceph.rival(true))
  }
  for (const rival of rivals.slice(0, 2)) await fill(rival, shape.imageMib)
  report('vs-ceph', { ...shape, rounds, seconds }, await compare(rivals))
} finally {
  await endAll()
}
