/**
 * Mounting: open, replay the ring, checkpoint, rebuild the allocator.
 *
 * After the checkpoint `level` has everything and the ring starts over at 0 under a new epoch. The epoch is durable
 * before the first record of it is written; records of earlier epochs (whole ones of a torn group among them, which were
 * never acknowledged) mean nothing from then on.
 */
import { ClusterError, type Env, isClusterError } from '@shoal/base'
import { Allocator } from './allocator.ts'
import { Checkpointer } from './checkpointer.ts'
import { DataReader } from './data-reader.ts'
import { blockBytes, bytesToKey, fileNames, holeUnit, type Key, keys, keyToBytes, prefixEnd } from './layout.ts'
import { MetaStore, type StoreState } from './meta-store.ts'
import { decodeShard, type Shard } from './onode.ts'
import { PendingData } from './pending-data.ts'
import { replayRecord } from './replay.ts'
import { type JournalDamage, RingReader } from './ring-reader.ts'
import { unseal } from './sealed-value.ts'
import { fillWithZeros, type OpenFiles, openStoreFiles } from './store-files.ts'
import type { StoreLimits } from './store-options.ts'
import type { PlannerOptions } from './write-planner.ts'

/** What the parts ask of whoever drives them: the replay first, then the store. */
interface Driver {
  readonly durableSequence: () => number
  readonly lastSequence: () => number
  readonly journalDurable: () => Promise<void>
  readonly mark: () => StoreState
  readonly release: (units: readonly number[]) => void
  readonly onProgress: () => void
  readonly onFailure: (cause: unknown) => void
}

export interface MountedParts {
  readonly directory: string
  readonly files: OpenFiles
  readonly meta: MetaStore
  readonly allocator: Allocator
  readonly pending: PendingData
  readonly data: DataReader
  readonly checkpointer: Checkpointer
  readonly planner: PlannerOptions
  readonly epoch: number
  readonly lastSequence: number
  readonly replayedRecords: number
  /** Block maps whose records fail their checksum: reads of their objects do, too, until they are recovered. */
  readonly damagedBlockMaps: number
  damaged: boolean
  readonly attach: (driver: Driver) => void
  readonly levelBytes: () => Promise<number>
}

const scanEntries = 1024

export async function mountParts(env: Env, directory: string, limits: StoreLimits): Promise<MountedParts> {
  const files = await openStoreFiles(env, directory, limits.storeKey)
  try {
    return await mountFiles(env, directory, limits, files)
  } catch (error) {
    await files.close()
    throw error
  }
}

async function mountFiles(env: Env, directory: string, limits: StoreLimits, files: OpenFiles): Promise<MountedParts> {
  const { checksums, superblock } = files
  const meta = new MetaStore(files.level, checksums, limits.metaCacheBytes)
  const state = await meta.readState()
  await meta.loadCollections()
  let driver: Driver | undefined
  const current = (): Driver => driver as Driver
  const pending = new PendingData({
    file: files.data,
    lowWaterBytes: limits.pendingLowWaterBytes,
    durableSequence: () => current().durableSequence(),
    onProgress: () => current().onProgress(),
    onFailure: (cause) => current().onFailure(cause),
  })
  const checkpointer = new Checkpointer({
    meta,
    pending,
    data: files.data,
    timers: env.timers,
    lastSequence: () => current().lastSequence(),
    journalDurable: () => current().journalDurable(),
    mark: () => current().mark(),
    release: (units) => current().release(units),
  })
  const attach = (next: Driver): void => {
    driver = next
  }
  const replay = new Replay(env, files, meta, pending, checkpointer, state, limits)
  attach(replay.driver())
  await replay.run()
  const { allocator, damagedBlockMaps } = await buildAllocator(env, files, superblock.dataBytes)
  if (damagedBlockMaps > 0) env.log.error('block maps of objects are damaged', { records: damagedBlockMaps })
  const data = new DataReader(files.data, checksums, pending, env.compression, limits.dataCacheBytes)
  const planner: PlannerOptions = {
    allocator,
    checksums,
    largeWriteBytes: limits.largeWriteBytes,
    inlineBytesMax: superblock.journalBytes / 8,
    peekUnit: (unit, checksum) => data.peek(unit, checksum),
    readUnit: (unit, checksum) => data.readUnit(unit, checksum),
    peekBlob: (blob) => data.peekBlob(blob),
    readBlob: (blob) => data.readBlob(blob),
  }
  return {
    directory,
    files,
    meta,
    allocator,
    pending,
    data,
    checkpointer,
    planner,
    epoch: state.epoch + 1,
    lastSequence: replay.lastSequence,
    replayedRecords: replay.records,
    damagedBlockMaps,
    damaged: state.damaged || replay.damage !== undefined,
    attach,
    levelBytes: () => directoryBytes(env, `${directory}/${fileNames.meta}`),
  }
}

class Replay {
  private readonly env: Env
  private readonly files: OpenFiles
  private readonly meta: MetaStore
  private readonly pending: PendingData
  private readonly checkpointer: Checkpointer
  private readonly state: StoreState
  private readonly limits: StoreLimits
  private mark: StoreState
  lastSequence: number
  records = 0
  damage: JournalDamage | undefined

  constructor(
    env: Env,
    files: OpenFiles,
    meta: MetaStore,
    pending: PendingData,
    checkpointer: Checkpointer,
    state: StoreState,
    limits: StoreLimits,
  ) {
    this.env = env
    this.files = files
    this.meta = meta
    this.pending = pending
    this.checkpointer = checkpointer
    this.state = state
    this.limits = limits
    this.mark = { ...state, clean: false }
    this.lastSequence = state.tailSequence - 1
  }

  /** Whatever is replayed is durable by definition. */
  driver(): Driver {
    return {
      durableSequence: () => this.lastSequence,
      lastSequence: () => this.lastSequence,
      journalDurable: () => Promise.resolve(),
      mark: () => this.mark,
      release: () => undefined,
      onProgress: () => undefined,
      onFailure: (cause) => this.env.abort('object store: the data file cannot be written during replay', cause),
    }
  }

  async run(): Promise<void> {
    const { journalBytes } = this.files.superblock
    const fileBytes = await this.files.journal.sizeBytes()
    if (!this.state.clean) await this.replayRing(fileBytes)
    for (const { applied } of this.meta.collections.values()) {
      // Only a damaged journal ends before what `level` has.
      if (applied > this.lastSequence) this.lastSequence = applied
    }
    if (fileBytes < journalBytes) {
      this.env.log.warn('the journal file was cut short and is made whole again', { fileBytes, journalBytes })
      await fillWithZeros(this.files.journal, fileBytes, journalBytes)
    }
    this.mark = {
      epoch: this.state.epoch + 1,
      tailOffset: 0,
      tailSequence: this.lastSequence + 1,
      clean: false,
      damaged: this.state.damaged || this.damage !== undefined,
    }
    await this.checkpointer.round()
  }

  private async replayRing(fileBytes: number): Promise<void> {
    const { nonce, journalBytes } = this.files.superblock
    const reader = new RingReader(
      {
        file: this.files.journal,
        checksums: this.files.checksums,
        cipher: this.files.journalCipher,
        ringBytes: journalBytes,
        fileBytes,
        nonce,
        epoch: this.state.epoch,
      },
      this.state.tailOffset,
      this.state.tailSequence,
    )
    for (let record = await reader.next(); record !== undefined; record = await reader.next()) {
      await replayRecord(record, this.meta, this.pending)
      this.lastSequence = record.sequence
      this.records++
      const pendingFull = this.pending.bytes > this.limits.pendingBytesMax
      if (pendingFull || this.meta.dirtyBytes > this.limits.checkpointDirtyBytes) {
        this.mark = { ...this.mark, tailOffset: reader.offset, tailSequence: reader.sequence }
        await this.checkpointer.round()
      }
    }
    this.damage = await reader.findDamage()
    if (this.damage === undefined) return
    this.env.log.error('acknowledged transactions are missing from the journal', { ...this.damage })
    if (this.limits.onJournalDamage === 'recover') return
    throw new ClusterError('EIO', `the journal lost acknowledged transactions: ${this.damage.detail}`, {
      hint: 'remove this OSD and let it be rebuilt, or run `shoal fsck --repair` on its directory to go on with the older state',
    })
  }
}

/**
 * Reads every block map: each unit they name is in use, as often as it is named. The units of a damaged one are free: nobody
 * can find out any more what they hold, and its object is written anew from another copy.
 */
async function buildAllocator(
  env: Env,
  files: OpenFiles,
  dataBytes: number,
): Promise<{ readonly allocator: Allocator; readonly damagedBlockMaps: number }> {
  let damagedBlockMaps = 0
  const allocator = new Allocator(dataBytes / blockBytes)
  const end = keyToBytes(prefixEnd(keys.shards) as Key)
  let from = keyToBytes(keys.shards)
  for (;;) {
    const page = await files.level.entries({ from, to: end, limit: scanEntries })
    for (const [key, value] of page) {
      const shard = shardIfWhole(files, key, value)
      if (shard === undefined) damagedBlockMaps++
      for (const unit of shard?.units ?? []) if (unit !== holeUnit) allocator.reference(unit)
      for (const { blob } of shard?.blobs ?? []) {
        if (!env.compression.supports(blob.algorithm)) throw unsupported(blob.algorithm)
        for (const unit of blob.units) allocator.reference(unit)
      }
    }
    const last = page[page.length - 1]
    if (last === undefined || page.length < scanEntries) return { allocator, damagedBlockMaps }
    from = keyToBytes(`${bytesToKey(last[0])}\0`)
  }
}

function unsupported(algorithm: string): ClusterError {
  return new ClusterError('EPROTO', `the store has objects compressed with ${algorithm}, which this Node cannot read`, {
    hint: 'start this daemon with Node 22.15 or newer',
  })
}

function shardIfWhole(files: OpenFiles, key: Uint8Array, value: Uint8Array): Shard | undefined {
  try {
    return decodeShard(unseal(files.checksums, key, value))
  } catch (error) {
    if (isClusterError(error, 'ECHECKSUM')) return undefined
    throw error
  }
}

async function directoryBytes(env: Env, path: string): Promise<number> {
  if (!(await env.disk.exists(path))) return 0
  let bytes = 0
  for (const name of await env.disk.list(path)) {
    try {
      const file = await env.disk.open(`${path}/${name}`, 'read')
      bytes += await file.sizeBytes()
      await file.close()
    } catch {
      // A file that `level` removed meanwhile, or its lock.
    }
  }
  return bytes
}
