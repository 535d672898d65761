/**
 * Compresses the bodies of writes before their transaction is ordered, when their pool asks for it.
 *
 * What comes out depends on the write alone, never on what the store holds, so that it can begin at `submit`, while
 * earlier transactions are still on their way; the order is that of `submit` all the same. What compresses badly stays
 * as it is: the rule is BlueStore's (`_do_alloc_write`), in whole units, since nothing less is ever saved.
 */
import { type Compression, type CompressionAlgorithm, type PoolId, pgPool } from '@shoal/base'
import type { Transaction, TransactionOp } from '@shoal/wire'
import { blobBlocksMax } from './blob.ts'
import { blockBytes } from './layout.ts'

export const compressionModes = ['none', 'passive', 'aggressive', 'force'] as const
export type CompressionMode = (typeof compressionModes)[number]

/** How a pool's writes are compressed. Names and meaning are those of Ceph's pool settings `compression_*`. */
export interface PoolCompression {
  readonly algorithm: CompressionAlgorithm
  /** `passive`: only what the writer calls compressible, which no operation of ours can say yet. */
  readonly mode: CompressionMode
  /** Kept only if what is stored is at most so much of what came, in whole units. */
  readonly requiredRatio: number
  /** Smaller pieces are not tried. */
  readonly minBlobBytes: number
  /** Writes are cut at multiples of this; at most 128 KiB. */
  readonly maxBlobBytes: number
}

export const compressionDefaults: Omit<PoolCompression, 'algorithm'> = {
  mode: 'none',
  requiredRatio: 0.875,
  minBlobBytes: 8 * 1024,
  maxBlobBytes: 64 * 1024,
}

/** A piece of a write's body that is worth storing compressed. */
export interface CompressedPiece {
  readonly firstBlock: number
  readonly count: number
  readonly algorithm: CompressionAlgorithm
  readonly sizeBytes: number
  /** The compressed bytes, filled up with zeros to whole units. */
  readonly stored: Uint8Array
}

/** What became of one transaction. */
export class CompressedBodies {
  /** By operation, in the order of their blocks. */
  readonly pieces: Map<TransactionOp, CompressedPiece[]> = new Map()
  done = false
  ready: Promise<void> = Promise.resolve()
}

interface Job {
  readonly bytes: Uint8Array
  readonly firstBlock: number
  readonly settings: PoolCompression
  readonly resolve: (piece: CompressedPiece | undefined) => void
}

/** As many as libuv has threads. */
const jobsMax = 4

export class BlobCompressor {
  private readonly compression: Compression
  private readonly onFailure: (cause: unknown) => void
  private pools: ReadonlyMap<PoolId, PoolCompression> = new Map()
  private readonly queue: Job[] = []
  private running = 0
  /** Some pool compresses. */
  active = false
  kept = 0
  keptBytesIn = 0
  keptBytesOut = 0
  rejected = 0

  constructor(compression: Compression, onFailure: (cause: unknown) => void) {
    this.compression = compression
    this.onFailure = onFailure
  }

  /** For transactions submitted from now on. */
  setPools(pools: ReadonlyMap<PoolId, PoolCompression>): void {
    const used = new Map<PoolId, PoolCompression>()
    for (const [pool, settings] of pools) {
      const wanted = settings.mode === 'aggressive' || settings.mode === 'force'
      if (wanted && this.compression.supports(settings.algorithm)) used.set(pool, settings)
    }
    this.pools = used
    this.active = used.size > 0
  }

  /** Undefined when nothing of the transaction is to be compressed. */
  start(transaction: Transaction): CompressedBodies | undefined {
    let bodies: CompressedBodies | undefined
    const work: Promise<void>[] = []
    for (const op of transaction.ops) {
      if (op.kind !== 'write') continue
      const settings = this.pools.get(pgPool(op.collection))
      if (settings === undefined || op.data.length < settings.minBlobBytes) continue
      const jobs = this.cut(op.offset, op.data, settings)
      if (jobs.length === 0) continue
      bodies ??= new CompressedBodies()
      work.push(collect(bodies.pieces, op, jobs))
    }
    if (bodies === undefined) return undefined
    const started = bodies
    started.ready = Promise.all(work).then(() => {
      started.done = true
    })
    return started
  }

  /** The body in pieces that begin and end at multiples of the largest blob, where the write goes so far. */
  private cut(offset: number, data: Uint8Array, settings: PoolCompression): Promise<CompressedPiece | undefined>[] {
    const end = Math.floor((offset + data.length) / blockBytes)
    const stride = Math.min(blobBlocksMax, Math.floor(settings.maxBlobBytes / blockBytes))
    const jobs: Promise<CompressedPiece | undefined>[] = []
    for (let at = Math.ceil(offset / blockBytes); at < end; ) {
      const next = Math.min(end, (Math.floor(at / stride) + 1) * stride)
      if (next - at >= 2 && (next - at) * blockBytes >= settings.minBlobBytes) {
        const bytes = data.subarray(at * blockBytes - offset, next * blockBytes - offset)
        const firstBlock = at
        jobs.push(new Promise((resolve) => this.queue.push({ bytes, firstBlock, settings, resolve })))
      }
      at = next
    }
    this.pump()
    return jobs
  }

  private pump(): void {
    while (this.running < jobsMax) {
      const job = this.queue.shift()
      if (job === undefined) return
      this.running++
      this.run(job).catch(this.onFailure)
    }
  }

  private async run({ bytes, firstBlock, settings, resolve }: Job): Promise<void> {
    const { algorithm, requiredRatio } = settings
    const most = Math.min(roundUp(bytes.length * requiredRatio), bytes.length - blockBytes)
    const compressed = most < blockBytes ? undefined : await this.compression.compress(algorithm, bytes, most)
    this.running--
    this.pump()
    if (compressed === undefined || compressed.length === 0) {
      this.rejected++
      resolve(undefined)
      return
    }
    const stored = new Uint8Array(roundUp(compressed.length))
    stored.set(compressed)
    this.kept++
    this.keptBytesIn += bytes.length
    this.keptBytesOut += compressed.length
    const count = bytes.length / blockBytes
    resolve({ firstBlock, count, algorithm, sizeBytes: compressed.length, stored })
  }
}

async function collect(
  into: Map<TransactionOp, CompressedPiece[]>,
  op: TransactionOp,
  jobs: readonly Promise<CompressedPiece | undefined>[],
): Promise<void> {
  const pieces = (await Promise.all(jobs)).filter((piece) => piece !== undefined)
  if (pieces.length > 0) into.set(op, pieces)
}

const roundUp = (bytes: number): number => Math.ceil(bytes / blockBytes) * blockBytes
