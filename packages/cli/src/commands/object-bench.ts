/**
 * `shoal object bench`: closed-loop load of one client, as `rados bench` does it: so many operations in flight at all
 * times, each on an object of its own, until the time is over.
 */
import { ClusterError, Histogram, type HistogramSummary } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import type { Command } from 'commander'
import { Argument } from 'commander'
import { action } from '../action.ts'
import { Progress } from '../output/progress.ts'
import { formatPairs } from '../output/table.ts'
import { formatBytes, parseBytes, parseInteger } from '../output/units.ts'

interface BenchResult {
  readonly mode: string
  readonly blockBytes: number
  readonly concurrent: number
  readonly seconds: number
  readonly operations: number
  readonly operationsPerSecond: number
  readonly bytesPerSecond: number
  readonly latencyMs: HistogramSummary
}

type Mode = 'write' | 'seq' | 'rand'

const objectPrefix = 'benchmark_data_'

export function addBenchCommand(object: Command): void {
  action(
    object
      .command('bench')
      .argument('<seconds>')
      .addArgument(new Argument('<mode>').choices(['write', 'seq', 'rand']))
      .option('-b, --block-size <size>', 'bytes of each operation', '4M')
      .option('-t, --concurrent-ios <n>', 'operations in flight', '16')
      .option('--objects <n>', 'how many objects the load is spread over', '1024')
      .option('--no-cleanup', 'keep the objects, for a read run after it')
      .description('measure a pool; reads need the objects of a `write --no-cleanup` before'),
    async (context, [seconds, mode], options) => {
      const { opLimits } = await import('@shoal/wire')
      const client = await context.client()
      const pool = client.pool(String(options['pool']), String(options['namespace']))
      const blockBytes = parseBytes(String(options['blockSize']))
      if (blockBytes < 1 || blockBytes > opLimits.writeBytesMax) {
        throw new ClusterError('EINVAL', `--block-size: ${options['blockSize']} does not fit into one operation`, {
          hint: `from 1 to ${opLimits.writeBytesMax} bytes`,
        })
      }
      const objects = parseInteger(String(options['objects']), '--objects', 1, 10_000_000)
      const result = await bench(pool, {
        mode: mode as Mode,
        seconds: parseInteger(seconds as string, 'seconds', 1, 86_400),
        blockBytes,
        concurrent: parseInteger(String(options['concurrentIos']), '--concurrent-ios', 1, 4096),
        objects,
      })
      if (mode === 'write' && options['cleanup'] === true) await cleanUp(pool, objects)
      context.print(result, () => format(result))
    },
  )
}

interface BenchOptions {
  readonly mode: Mode
  readonly seconds: number
  readonly blockBytes: number
  readonly concurrent: number
  readonly objects: number
}

async function bench(pool: PoolHandle, options: BenchOptions): Promise<BenchResult> {
  const latencyMs = new Histogram()
  const data = crypto.getRandomValues(new Uint8Array(Math.min(65_536, options.blockBytes)))
  const block = Buffer.alloc(options.blockBytes)
  for (let at = 0; at < block.length; at += data.length)
    block.set(data.subarray(0, Math.min(data.length, block.length - at)), at)
  const progress = new Progress(options.mode, options.seconds)
  const startedMs = performance.now()
  const deadlineMs = startedMs + options.seconds * 1000
  let next = 0
  const worker = async (): Promise<void> => {
    for (;;) {
      const beginMs = performance.now()
      if (beginMs >= deadlineMs) return
      const index = options.mode === 'rand' ? Math.floor(Math.random() * options.objects) : next++ % options.objects
      const name = `${objectPrefix}${index}`
      await (options.mode === 'write'
        ? pool.execute(name, [{ kind: 'write-full', data: block }])
        : pool.execute(name, [{ kind: 'read', offset: 0, length: options.blockBytes }]))
      latencyMs.record(performance.now() - beginMs)
      progress.update((performance.now() - startedMs) / 1000)
    }
  }
  await Promise.all(Array.from({ length: options.concurrent }, worker))
  progress.end()
  const seconds = (performance.now() - startedMs) / 1000
  return {
    mode: options.mode,
    blockBytes: options.blockBytes,
    concurrent: options.concurrent,
    seconds,
    operations: latencyMs.count,
    operationsPerSecond: latencyMs.count / seconds,
    bytesPerSecond: (latencyMs.count * options.blockBytes) / seconds,
    latencyMs: latencyMs.summary(),
  }
}

async function cleanUp(pool: PoolHandle, objects: number): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < objects) {
      await pool.execute(`${objectPrefix}${next++}`, [{ kind: 'remove' }]).catch((error: { code?: string }) => {
        if (error.code !== 'ENOENT') throw error
      })
    }
  }
  await Promise.all(Array.from({ length: 32 }, worker))
}

function format(result: BenchResult): string {
  const ms = (value: number): string => `${value.toFixed(2)} ms`
  return formatPairs([
    ['operations', result.operations],
    ['per second', Math.round(result.operationsPerSecond)],
    ['bandwidth', `${formatBytes(result.bytesPerSecond)}/s`],
    ['latency mean', ms(result.latencyMs.mean)],
    ['latency p50', ms(result.latencyMs.p50)],
    ['latency p99', ms(result.latencyMs.p99)],
    ['latency max', ms(result.latencyMs.max)],
  ])
}
