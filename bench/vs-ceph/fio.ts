/** One row of the comparison: a fio job on one of the clusters, and what the machine spent on it. */
import { cpuSeconds, round, rssMb } from '../support/local-cluster.ts'
import { run } from './command.ts'
import type { Rival } from './rival.ts'

export interface Row {
  readonly name: string
  readonly words: readonly string[]
}

function row(name: string, ...words: readonly string[]): Row {
  return { name, words: words.map((word) => `--${word}`) }
}

/** The five published ones, and latency at depth 1. */
export const rows: readonly Row[] = [
  row('randwrite 8k, depth 64', 'rw=randwrite', 'bs=8k', 'iodepth=64'),
  row('randread 8k, depth 64', 'rw=randread', 'bs=8k', 'iodepth=64'),
  row('randrw 70/30 8k, depth 64', 'rw=randrw', 'rwmixread=70', 'bs=8k', 'iodepth=64'),
  row('read 512k, depth 64', 'rw=read', 'bs=512k', 'iodepth=64'),
  row('write 512k, depth 64', 'rw=write', 'bs=512k', 'iodepth=64'),
  row('randwrite 8k, depth 1', 'rw=randwrite', 'bs=8k', 'iodepth=1'),
  row('randread 8k, depth 1', 'rw=randread', 'bs=8k', 'iodepth=1'),
]

export interface Measured {
  readonly iops: number
  readonly mbPerSecond: number
  readonly meanMs: number
  readonly p99Ms: number
  /** Of all daemons and of fio, for one operation. */
  readonly cpuUsPerOp: number
  /** The largest of the OSDs. */
  readonly osdRssMb: number
}

interface FioSide {
  readonly iops: number
  readonly bw_bytes: number
  readonly total_ios: number
  readonly clat_ns: { readonly mean: number; readonly percentile?: Readonly<Record<string, number>> }
}

interface FioReport {
  readonly jobs: readonly [
    {
      readonly read: FioSide
      readonly write: FioSide
      readonly usr_cpu: number
      readonly sys_cpu: number
      readonly job_runtime: number
      readonly error: number
    },
  ]
}

/** So that reads find bytes, and writes overwrite. */
export async function fill(rival: Rival, imageMib: number): Promise<void> {
  await fio(rival, ['--rw=write', '--bs=1m', '--iodepth=16', `--size=${imageMib}m`])
}

/** `seconds` are measured, after `rampSeconds` of the same load. */
export async function measure(rival: Rival, { words }: Row, rampSeconds: number, seconds: number): Promise<Measured> {
  const { all, osds } = await rival.pids()
  const cpu = (): number => all.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  if (rampSeconds > 0) await fio(rival, [...words, '--time_based', `--runtime=${rampSeconds}`])
  const before = cpu()
  const { read, write, usr_cpu, sys_cpu, job_runtime } = await fio(rival, [
    ...words,
    '--time_based',
    `--runtime=${seconds}`,
  ])
  const daemons = cpu() - before
  const client = ((usr_cpu + sys_cpu) / 100) * (job_runtime / 1000)
  const count = read.total_ios + write.total_ios
  const p99 = ({ clat_ns }: FioSide): number => clat_ns.percentile?.['99.000000'] ?? 0
  const mean = (read.clat_ns.mean * read.total_ios + write.clat_ns.mean * write.total_ios) / count
  return {
    iops: Math.round(read.iops + write.iops),
    mbPerSecond: round((read.bw_bytes + write.bw_bytes) / 1e6, 1),
    meanMs: round(mean / 1e6, 2),
    p99Ms: round(Math.max(p99(read), p99(write)) / 1e6, 2),
    cpuUsPerOp: Math.round(((daemons + client) / count) * 1e6),
    osdRssMb: Math.round(Math.max(...osds.map(rssMb))),
  }
}

async function fio(rival: Rival, words: readonly string[]): Promise<FioReport['jobs'][0]> {
  const common = ['--name=row', '--thread', '--randrepeat=0', '--norandommap', '--output-format=json']
  const said = await run('fio', [...common, ...rival.engine, ...words], rival.env)
  // Engines print warnings before the report.
  const [job] = (JSON.parse(said.slice(said.indexOf('{'))) as FioReport).jobs
  if (job.error !== 0) throw new Error(`fio on ${rival.name}: error ${job.error}`)
  return job
}
