/**
 * Compresses the bodies of writes before their transaction is ordered, when their pool asks for it.
 *
 * What comes out depends on the write alone, never on what the store holds, so that it can begin at `submit`, while
 * earlier transactions are still on their way; the order is that of `submit` all the same. What compresses badly stays
 * as it is: the rule is BlueStore's (`_do_alloc_write`), in whole units, since nothing less is ever saved.
 */
import {
  type Compression,
  type CompressionAlgorithm,
  type PoolCompression,
  type PoolId,
  parsePgId,
  pgPool,
  wholePgId,
} from '@shoal/base'
import type { Transaction, TransactionOp } from '@shoal/wire'
import { blobBlocksMax } from './blob.ts'
import { blockBytes } from './layout.ts'
import type { Collection } from './meta-store.ts'
import type { CompressionUsage } from './object-store.ts'

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

interface PoolState {
  readonly settings: PoolCompression
  /** Pieces that were kept since the pool was first compressed in this run. */
  kept: number
}

interface Job {
  readonly bytes: Uint8Array
  readonly firstBlock: number
  readonly pool: PoolState
  readonly resolve: (piece: CompressedPiece | undefined) => void
}

/** As many as libuv has threads. */
const jobsMax = 4

export class BlobCompressor {
  private readonly compression: Compression
  private readonly onFailure: (cause: unknown) => void
  private pools: ReadonlyMap<PoolId, PoolState> = new Map()
  private readonly queue: Job[] = []
  private running = 0
  /** Some pool compresses. */
  active = false
  private kept = 0
  private keptBytesIn = 0
  private keptBytesOut = 0
  private rejected = 0

  constructor(compression: Compression, onFailure: (cause: unknown) => void) {
    this.compression = compression
    this.onFailure = onFailure
  }

  /** For transactions submitted from now on. */
  setPools(pools: ReadonlyMap<PoolId, PoolCompression>): void {
    const used = new Map<PoolId, PoolState>()
    for (const [pool, settings] of pools) {
      const wanted = settings.mode === 'aggressive' || settings.mode === 'force'
      if (wanted && this.compression.supports(settings.algorithm)) used.set(pool, { settings, kept: this.keptOf(pool) })
    }
    this.pools = used
    this.active = used.size > 0
  }

  /** Pieces of the pool that were kept in this run. */
  keptOf(pool: PoolId): number {
    return this.pools.get(pool)?.kept ?? 0
  }

  /** What the collections have in blobs, by pool. */
  usage(collections: Iterable<Collection>): Map<PoolId, CompressionUsage> {
    const usage = new Map<PoolId, CompressionUsage>()
    for (const { id, compressed } of collections) {
      if (compressed.units === 0) continue
      const pool = pgPool(id)
      const before = usage.get(pool)
      usage.set(pool, {
        originalBytes: (before?.originalBytes ?? 0) + compressed.blocks * blockBytes,
        compressedBytes: (before?.compressedBytes ?? 0) + compressed.bytes,
        allocatedBytes: (before?.allocatedBytes ?? 0) + compressed.units * blockBytes,
        operations: this.keptOf(pool),
      })
    }
    return usage
  }

  /** Names as BlueStore's. */
  perf(usage: ReadonlyMap<PoolId, CompressionUsage>): Record<string, number> {
    const sum = { originalBytes: 0, compressedBytes: 0, allocatedBytes: 0 }
    for (const pool of usage.values()) {
      for (const field of Object.keys(sum) as (keyof typeof sum)[]) sum[field] += pool[field]
    }
    return {
      compressed: sum.compressedBytes,
      compressed_allocated: sum.allocatedBytes,
      compressed_original: sum.originalBytes,
      compress_success_count: this.kept,
      compress_rejected_count: this.rejected,
      compress_bytes_in: this.keptBytesIn,
      compress_bytes_out: this.keptBytesOut,
    }
  }

  /** Undefined when nothing of the transaction is to be compressed. */
  start(transaction: Transaction): CompressedBodies | undefined {
    let bodies: CompressedBodies | undefined
    const work: Promise<void>[] = []
    for (const op of transaction.ops) {
      if (op.kind !== 'write') continue
      const id = parsePgId(wholePgId(op.collection))?.pool
      const pool = id === undefined ? undefined : this.pools.get(id)
      if (pool === undefined || op.data.length < pool.settings.minBlobBytes) continue
      const jobs = this.cut(op.offset, op.data, pool)
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
  private cut(offset: number, data: Uint8Array, pool: PoolState): Promise<CompressedPiece | undefined>[] {
    const { minBlobBytes, maxBlobBytes } = pool.settings
    const end = Math.floor((offset + data.length) / blockBytes)
    const stride = Math.min(blobBlocksMax, Math.floor(maxBlobBytes / blockBytes))
    const jobs: Promise<CompressedPiece | undefined>[] = []
    for (let at = Math.ceil(offset / blockBytes); at < end; ) {
      const next = Math.min(end, (Math.floor(at / stride) + 1) * stride)
      if (next - at >= 2 && (next - at) * blockBytes >= minBlobBytes) {
        const bytes = data.subarray(at * blockBytes - offset, next * blockBytes - offset)
        const firstBlock = at
        jobs.push(new Promise((resolve) => this.queue.push({ bytes, firstBlock, pool, resolve })))
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

  private async run({ bytes, firstBlock, pool, resolve }: Job): Promise<void> {
    const { algorithm, requiredRatio } = pool.settings
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
    pool.kept++
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
