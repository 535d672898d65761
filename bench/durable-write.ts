/**
 * What a durable write of a journal costs: groups of four records of 8 KiB and a header, in a ring, through the page
 * cache (writev on a file opened with O_DSYNC) and past it (what the daemons do). Both in turn.
 *
 *   npm run build && npx tsx --conditions=source bench/durable-write.ts [--record] [--rounds N] [--groups N] [--dir DIR]
 */
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DurableFile, writeAll } from '../packages/runtime/src/durable-file.ts'
import { argument, report, round } from './support/local-cluster.ts'

const ringBytes = 128 * 1024 * 1024
const rounds = Number(argument('--rounds') ?? 5)
const groups = Number(argument('--groups') ?? 2000)
const directory = mkdtempSync(join(argument('--dir') ?? tmpdir(), 'shoal-durable-'))
const path = join(directory, 'ring')
const records = Array.from({ length: 4 }, () => [new Uint8Array(512), new Uint8Array(64 * 1024).subarray(100, 8292)])
const chunks = records.flat()
const groupBytes = chunks.reduce((sum, { length }) => sum + length, 0)

interface Cost {
  readonly usPerGroup: number
  readonly cpuUsPerGroup: number
}

async function measure(write: (offset: number) => Promise<void>): Promise<Cost> {
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  for (let at = 0; at < groups; at++) await write((at * groupBytes) % (ringBytes - groupBytes))
  const tookMs = performance.now() - startMs
  const { user, system } = process.cpuUsage(cpu)
  return { usPerGroup: (tookMs * 1000) / groups, cpuUsPerGroup: (user + system) / groups }
}

function median(values: readonly number[]): number {
  return round([...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0, 0)
}

const cached = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_DSYNC)
await writeAll(cached, [new Uint8Array(ringBytes)], 0)
const direct = await DurableFile.open(path)
const costs: Record<'page cache' | 'past it', Cost[]> = { 'page cache': [], 'past it': [] }
for (let at = 0; at < rounds; at++) {
  costs['page cache'].push(await measure((offset) => writeAll(cached, chunks, offset)))
  costs['past it'].push(await measure((offset) => direct.write(chunks, offset)))
}
closeSync(cached)
await direct.close()
rmSync(directory, { recursive: true })
report(
  'durable-write',
  { groupBytes, groups, rounds },
  Object.entries(costs).map(([way, runs]) => ({
    way,
    usPerGroup: median(runs.map(({ usPerGroup }) => usPerGroup)),
    cpuUsPerGroup: median(runs.map(({ cpuUsPerGroup }) => cpuUsPerGroup)),
  })),
)
