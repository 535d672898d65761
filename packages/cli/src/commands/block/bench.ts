/** `shoal block bench`: closed-loop load of one client on an image, as `rbd bench` does it. A write run takes the image's lock. */
import { ClusterError, Histogram, type HistogramSummary, Prng } from '@shoal/base'
import type { ImageSession } from '@shoal/block'
import { type Command, Option } from 'commander'
import { action } from '../../action.ts'
import type { CommandContext } from '../../context.ts'
import { Progress } from '../../output/progress.ts'
import { formatPairs } from '../../output/table.ts'
import { formatBytes, parseBytes, parseInteger } from '../../output/units.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from '../pool-io.ts'

const ioTypes = ['write', 'read', 'readwrite'] as const
const patterns = ['seq', 'rand'] as const
const ioBytesMax = 32 * 1024 * 1024

interface BenchOptions {
  readonly ioType: (typeof ioTypes)[number]
  readonly ioBytes: number
  readonly threads: number
  readonly totalBytes: number
  readonly pattern: (typeof patterns)[number]
  /** Percent of reads in `readwrite`. */
  readonly readShare: number
}

interface BenchResult extends BenchOptions {
  readonly seconds: number
  readonly operations: number
  readonly operationsPerSecond: number
  readonly bytesPerSecond: number
  readonly latencyMs: HistogramSummary
}

export function addImageBenchCommand(block: Command): void {
  action(
    block
      .command('bench')
      .argument('<image>', 'POOL/IMAGE; what is in it is overwritten by writes')
      .addOption(new Option('--io-type <type>').choices(ioTypes).makeOptionMandatory())
      .option('--io-size <size>', 'bytes of each operation', '4K')
      .option('--io-threads <n>', 'operations in flight', '16')
      .option('--io-total <size>', 'bytes in all', '1G')
      .addOption(new Option('--io-pattern <pattern>', 'where').choices(patterns).default('seq'))
      .option('--rw-mix-read <percent>', 'reads among all, for readwrite', '50')
      .description('measure an image from this client, without a gateway'),
    async (context, [image = ''], options) => {
      const session = await openSession(context, image)
      try {
        const result = await bench(session, parseOptions(options, session.image.sizeBytes))
        context.print(result, () => format(result))
      } finally {
        await session.close()
      }
    },
  )
}

async function openSession(context: CommandContext, image: string): Promise<ImageSession> {
  const { pool, name } = parsePoolAndName(image, defaultBlockPool)
  const [client, store, { ImageSession }, env] = await Promise.all([
    context.client(),
    imageStore(context, pool),
    import('@shoal/block'),
    context.env(),
  ])
  const options = { env, io: client.pool(pool), fencer: client, description: 'shoal block bench' }
  return ImageSession.open(await store.open(name), options)
}

function parseOptions(options: Readonly<Record<string, unknown>>, sizeBytes: number): BenchOptions {
  const ioBytes = parseBytes(String(options['ioSize']))
  if (ioBytes < 1 || ioBytes > Math.min(ioBytesMax, sizeBytes)) {
    throw new ClusterError(
      'EINVAL',
      `--io-size: ${options['ioSize']} is too large for this image, or for an operation`,
      {
        hint: `at most ${formatBytes(Math.min(ioBytesMax, sizeBytes))}`,
      },
    )
  }
  return {
    ioType: ioTypes.find((type) => type === options['ioType']) ?? 'write',
    pattern: patterns.find((pattern) => pattern === options['ioPattern']) ?? 'seq',
    ioBytes,
    threads: parseInteger(String(options['ioThreads']), '--io-threads', 1, 4096),
    totalBytes: parseBytes(String(options['ioTotal'])),
    readShare: parseInteger(String(options['rwMixRead']), '--rw-mix-read', 0, 100),
  }
}

async function bench(session: ImageSession, options: BenchOptions): Promise<BenchResult> {
  const { ioType, ioBytes, threads, totalBytes, pattern, readShare } = options
  const random = new Prng(performance.now())
  const slots = Math.floor(session.image.sizeBytes / ioBytes)
  const operations = Math.max(1, Math.floor(totalBytes / ioBytes))
  const data = randomBytes(ioBytes)
  const latencyMs = new Histogram()
  const progress = new Progress(ioType, operations)
  let next = 0
  const startedMs = performance.now()
  const thread = async (): Promise<void> => {
    while (next < operations) {
      const number = next++
      const offset = (pattern === 'seq' ? number % slots : random.below(slots)) * ioBytes
      const reads = ioType === 'read' || (ioType === 'readwrite' && random.below(100) < readShare)
      const beginMs = performance.now()
      if (reads) await session.read(offset, ioBytes)
      else await session.write(offset, data)
      latencyMs.record(performance.now() - beginMs)
      progress.update(number + 1)
    }
  }
  await Promise.all(Array.from({ length: threads }, thread))
  await session.flush()
  const seconds = (performance.now() - startedMs) / 1000
  progress.end()
  return {
    ...options,
    seconds,
    operations,
    operationsPerSecond: operations / seconds,
    bytesPerSecond: (operations * ioBytes) / seconds,
    latencyMs: latencyMs.summary(),
  }
}

/** That no compression shrinks. */
function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536))
  return bytes
}

function format(result: BenchResult): string {
  const { latencyMs } = result
  return formatPairs([
    ['elapsed', `${result.seconds.toFixed(2)} s`],
    ['ops', String(result.operations)],
    ['ops/sec', result.operationsPerSecond.toFixed(1)],
    ['bytes/sec', `${formatBytes(result.bytesPerSecond)}/s`],
    ['latency', `mean ${latencyMs.mean.toFixed(2)} ms, p99 ${latencyMs.p99.toFixed(2)} ms`],
  ])
}
