/**
 * The production object store: orders transactions, gives them to the journal, applies them in memory at once.
 *
 * Invariants
 * 1. A transaction is ordered in one synchronous step: metadata in memory, units, its place in the ring. Before that
 *    step it can be refused without a trace; after it, it becomes durable or the daemon ends.
 * 2. While a transaction waits (for a record of `level`, an old block, room), all later ones wait behind it, and so do
 *    reads that start later.
 * 3. Whatever waits is woken by a commit, a background write or a checkpoint, and none of these waits for ordering.
 */
import {
  assert,
  ClusterError,
  type Env,
  type HistogramSummary,
  isClusterError,
  type PgId,
  type PoolCompression,
  type PoolId,
} from '@shoal/base'
import type { ObjectId, OmapEntry, Transaction } from '@shoal/wire'
import type { Allocator } from './allocator.ts'
import { BlobCompressor, type CompressedBodies } from './blob-compressor.ts'
import type { Checkpointer } from './checkpointer.ts'
import type { DataReader } from './data-reader.ts'
import { DirectWriter } from './direct-writer.ts'
import { Examiner } from './examiner.ts'
import { Execution } from './execution.ts'
import { HostSpace } from './host-space.ts'
import { Journal } from './journal.ts'
import { encodeBody, type JournalItem } from './journal-record.ts'
import { blockBytes } from './layout.ts'
import { Loaded, NeedLoad } from './loaded.ts'
import type { Collection, MetaStore } from './meta-store.ts'
import { type MountedParts, mountParts } from './mount.ts'
import { isClean, moveObjects } from './object-mover.ts'
import { ObjectReader } from './object-reader.ts'
import type {
  CompressionUsage,
  CountObject,
  ExaminedRange,
  ExamineRange,
  Extent,
  MovedObjects,
  ObjectExaminer,
  ObjectPage,
  ObjectStat,
  ObjectStore,
  OmapPage,
  ReadablePage,
  StoreUsage,
} from './object-store.ts'
import { joinAdjacent, type PendingData } from './pending-data.ts'
import { type CreateOptions, createStoreFiles } from './store-files.ts'
import { type MountOptions, resolveOptions, type StoreLimits } from './store-options.ts'
import { formatUuid } from './superblock.ts'
import { NoSpace, WritePlanner } from './write-planner.ts'

interface Submission {
  readonly transaction: Transaction
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  readonly submittedMs: number
  readonly loaded: Loaded
  /** Its compressed bodies; ordered only when they are done. */
  readonly compressed: CompressedBodies | undefined
  /** Told when the transaction was ordered or refused. */
  onPassed: (() => void)[] | undefined
}

const operationsMax = 0xffff
const dirtyCheckEvery = 32

export class FileObjectStore implements ObjectStore, ObjectExaminer {
  private readonly env: Env
  private readonly parts: MountedParts
  private readonly limits: StoreLimits
  private readonly meta: MetaStore
  private readonly allocator: Allocator
  private readonly pending: PendingData
  private readonly data: DataReader
  private readonly reader: ObjectReader
  private readonly examiner: Examiner
  private readonly journal: Journal
  private readonly checkpointer: Checkpointer
  private readonly compressor: BlobCompressor
  private readonly direct: DirectWriter
  private readonly host: HostSpace
  private readonly waiting: Submission[] = []
  private progressWaiters: (() => void)[] = []
  private durableWaiters: { readonly sequence: number; readonly resolve: () => void }[] = []
  private round: Promise<void> | undefined
  private lastSequence: number
  private stopped: ClusterError | undefined
  private levelBytes = 0
  private waits = 0
  private refusals = 0

  private constructor(env: Env, parts: MountedParts, limits: StoreLimits) {
    this.env = env
    this.parts = parts
    this.limits = limits
    this.meta = parts.meta
    this.allocator = parts.allocator
    this.data = parts.data
    this.pending = parts.pending
    this.reader = new ObjectReader(parts.meta, parts.data)
    this.examiner = new Examiner(parts.meta, parts.data)
    this.lastSequence = parts.lastSequence
    this.journal = new Journal(
      {
        file: parts.files.journal,
        sizeBytes: parts.files.superblock.journalBytes,
        nonce: parts.files.superblock.nonce,
        epoch: parts.epoch,
        clock: env.clock,
        checksums: parts.files.checksums,
        cipher: parts.files.journalCipher,
        onFailure: (cause) => this.fail('the journal cannot be written', cause),
        onGroup: (sequence) => this.onDurable(sequence),
      },
      parts.lastSequence,
    )
    this.host = new HostSpace(env, parts.directory, limits)
    this.direct = new DirectWriter({
      write: (pieces) => this.pending.writeDirect(pieces),
      datasync: () => parts.files.data.datasync(),
      onDurable: () => this.journal.wake(),
      onFailure: (cause) => this.fail('the data file cannot be written', cause),
    })
    this.checkpointer = parts.checkpointer
    this.compressor = new BlobCompressor(env.compression, (cause) => this.fail('a write cannot be compressed', cause))
    parts.attach({
      durableSequence: () => this.journal.durableSequence,
      lastSequence: () => this.lastSequence,
      journalDurable: () => this.durable(this.lastSequence),
      mark: () => ({
        epoch: parts.epoch,
        tailOffset: this.journal.headOffset,
        tailSequence: this.lastSequence + 1,
        clean: false,
        damaged: parts.damaged,
      }),
      release: (units) => this.release(units),
      onProgress: () => this.signal(),
      onFailure: (cause) => this.fail('the data file cannot be written', cause),
    })
  }

  /** Makes a store in `directory` (mkfs). Durable and complete once it resolves; EEXIST when there is one. */
  static create(env: Env, directory: string, options: CreateOptions): Promise<void> {
    return createStoreFiles(env, directory, options)
  }

  /**
   * Opens a store and replays its journal. Rejects with ENOENT (no store), EBUSY (held by another process), EPROTO
   * (newer format), EIO (damage; the hint says what to do).
   */
  static async mount(env: Env, directory: string, options: MountOptions = {}): Promise<FileObjectStore> {
    const limits = resolveOptions(options)
    const parts = await mountParts(env, directory, limits)
    const store = new FileObjectStore(env, parts, limits)
    await store.checkHostSpace()
    return store
  }

  get uuid(): string {
    return formatUuid(this.parts.files.superblock.storeUuid)
  }

  get clusterUuid(): string {
    return formatUuid(this.parts.files.superblock.clusterUuid)
  }

  /**
   * Acknowledged transactions were lost with a damaged journal: what the store holds is a true but older state, and the
   * OSD must not count as one that has everything up to its last write. Stays set until `clearDamage`.
   */
  get lostTransactions(): boolean {
    return this.parts.damaged
  }

  /** Once the OSD has been brought up to date by its peers. */
  async clearDamage(): Promise<void> {
    this.parts.damaged = false
    await this.checkpoint()
  }

  submit(transaction: Transaction): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.stopped !== undefined) return reject(this.stopped)
      const submission: Submission = {
        transaction,
        resolve,
        reject,
        submittedMs: this.env.clock.monotonicMs(),
        loaded: new Loaded(),
        compressed: this.compressor.active ? this.compressor.start(transaction) : undefined,
        onPassed: undefined,
      }
      if (this.waiting.length > 0) {
        this.waiting.push(submission)
        return
      }
      const wait = this.tryOrder(submission)
      if (wait === undefined) return
      this.waiting.push(submission)
      this.drain(wait).catch((cause: unknown) => this.fail('a transaction cannot be ordered', cause))
    })
  }

  async flush(): Promise<void> {
    await this.passed()
    await this.durable(this.lastSequence)
  }

  collections(): readonly PgId[] {
    const ids: PgId[] = []
    for (const collection of this.meta.collections.values()) if (collection.exists) ids.push(collection.id)
    return ids.sort()
  }

  hasCollection(collection: PgId): boolean {
    return this.meta.collections.get(collection)?.exists === true
  }

  async metaEntries(collection: PgId, from: Uint8Array, to: Uint8Array, limit: number): Promise<OmapPage> {
    await this.passed()
    return this.reader.metaEntries(collection, from, to, limit)
  }

  async metaGet(collection: PgId, key: Uint8Array): Promise<Uint8Array | undefined> {
    await this.passed()
    return this.reader.metaGet(collection, key)
  }

  async stat(collection: PgId, object: ObjectId): Promise<ObjectStat | undefined> {
    if (this.waiting.length > 0) await this.passed()
    const onode = await this.reader.onode(collection, object)
    if (onode === undefined) return undefined
    return { sizeBytes: onode.sizeBytes, allocatedBytes: onode.allocatedBlocks * blockBytes }
  }

  /** The bytes may be shared with the store's memory: the caller must not write into them. */
  async read(collection: PgId, object: ObjectId, offset: number, length: number): Promise<Uint8Array> {
    if (this.waiting.length > 0) await this.passed()
    return this.reader.read(collection, object, offset, length)
  }

  async extents(collection: PgId, object: ObjectId, offset: number, length: number): Promise<readonly Extent[]> {
    await this.passed()
    return this.reader.extents(collection, object, offset, length)
  }

  async xattrs(collection: PgId, object: ObjectId): Promise<ReadonlyMap<string, Uint8Array>> {
    if (this.waiting.length > 0) await this.passed()
    return (await this.reader.mustOnode(collection, object)).xattrs
  }

  async omapHeader(collection: PgId, object: ObjectId): Promise<Uint8Array> {
    await this.passed()
    return (await this.reader.mustOnode(collection, object)).omapHeader
  }

  async omapGet(collection: PgId, object: ObjectId, keys: readonly Uint8Array[]): Promise<readonly OmapEntry[]> {
    await this.passed()
    return this.reader.omapGet(collection, object, keys)
  }

  async omapEntries(
    collection: PgId,
    object: ObjectId,
    options: { readonly after: Uint8Array | undefined; readonly prefix: Uint8Array; readonly limit: number },
  ): Promise<OmapPage> {
    await this.passed()
    return this.reader.omapEntries(collection, object, options)
  }

  async list(collection: PgId, after: ObjectId | undefined, limit: number): Promise<ObjectPage> {
    await this.passed()
    return this.reader.list(collection, after, limit)
  }

  async moveObjects(
    from: PgId,
    targets: readonly PgId[],
    choose: (object: ObjectId) => number,
    count: CountObject,
  ): Promise<readonly MovedObjects[]> {
    await this.flush()
    const collections = [from, ...targets].map((id) => {
      const collection = this.meta.collections.get(id)
      if (collection?.exists !== true) throw new ClusterError('EINVAL', `no collection ${id}`)
      return collection
    })
    while (!collections.every(isClean)) await this.checkpoint()
    const [source, ...others] = collections as [Collection, ...Collection[]]
    return moveObjects(this.meta, source, others, choose, count)
  }

  async examine(collection: PgId, range: ExamineRange): Promise<ExaminedRange> {
    await this.passed()
    return this.examiner.examine(this.reader.collection(collection), range)
  }

  async readableEntries(collection: PgId, from: Uint8Array, to: Uint8Array, limit: number): Promise<ReadablePage> {
    await this.passed()
    return this.examiner.readableEntries(this.reader.collection(collection), from, to, limit)
  }

  async damagedRecords(collection: PgId): Promise<readonly Uint8Array[]> {
    await this.passed()
    return this.examiner.damagedRecords(this.reader.collection(collection))
  }

  get transactionBytesMax(): number {
    return this.parts.files.superblock.journalBytes / 4
  }

  usage(): StoreUsage {
    const metadataBytes = this.parts.files.superblock.journalBytes + this.levelBytes
    const totalBytes = (this.allocator.unitCount - 1) * blockBytes + metadataBytes
    // The data file is sparse: what the file system below cannot give is not free.
    const freeBytes = Math.min((this.allocator.freeUnits + this.meta.heldUnits) * blockBytes, this.host.roomBytes)
    return { totalBytes, usedBytes: totalBytes - freeBytes, freeBytes, metadataBytes }
  }

  /** How writes of these pools are compressed, from now on; what is stored stays as it is. */
  setCompression(pools: ReadonlyMap<PoolId, PoolCompression>): void {
    this.compressor.setPools(pools)
  }

  compressionUsage(): ReadonlyMap<PoolId, CompressionUsage> {
    return this.compressor.usage(this.meta.collections.values())
  }

  perf(): Record<string, number | HistogramSummary> {
    return {
      ...this.journal.perf(),
      transactions: this.lastSequence,
      transactions_waiting: this.waiting.length,
      transaction_waits: this.waits,
      refused_no_space: this.refusals,
      checkpoints: this.checkpointer.rounds,
      checkpoint_entries: this.checkpointer.entriesWritten,
      ...this.data.perf(),
      data_writes: this.pending.writes,
      data_applied_bytes: this.pending.bytesApplied,
      pending_bytes: this.pending.bytes,
      pending_arena_bytes: this.pending.arenaBytes,
      dirty_metadata_bytes: this.meta.dirtyBytes,
      metadata_cache_bytes: this.meta.cacheBytes,
      free_units: this.allocator.freeUnits,
      held_units: this.meta.heldUnits,
      shared_units: this.allocator.sharedUnits,
      replayed_records: this.parts.replayedRecords,
      ...this.compressor.perf(this.compressionUsage()),
      damaged_block_maps: this.parts.damagedBlockMaps,
    }
  }

  /** Moves everything into `level` now. */
  async checkpoint(): Promise<void> {
    await this.flush()
    while (this.round !== undefined) await this.round
    this.startRound()
    await (this.round as Promise<void> | undefined)
  }

  async close(): Promise<void> {
    if (this.stopped !== undefined) return
    await this.flush()
    this.stopped = new ClusterError('ESHUTDOWN', 'the object store is closed')
    while (this.round !== undefined) await this.round
    await this.checkpointer.round({ clean: true })
    await this.parts.files.close()
  }

  /** Undefined when every submission so far has been ordered or refused. */
  private passed(): Promise<void> | undefined {
    const last = this.waiting[this.waiting.length - 1]
    if (last === undefined) return undefined
    return new Promise((resolve) => {
      last.onPassed ??= []
      last.onPassed.push(resolve)
    })
  }

  private durable(sequence: number): Promise<void> {
    if (this.journal.durableSequence >= sequence) return Promise.resolve()
    return new Promise((resolve) => this.durableWaiters.push({ sequence, resolve }))
  }

  private onDurable(sequence: number): void {
    if (this.durableWaiters.length > 0) {
      const waiters = this.durableWaiters
      this.durableWaiters = []
      for (const waiter of waiters) {
        if (waiter.sequence <= sequence) waiter.resolve()
        else this.durableWaiters.push(waiter)
      }
    }
    this.pending.pump()
    this.signal()
  }

  private signal(): void {
    if (this.progressWaiters.length === 0) return
    const waiters = this.progressWaiters
    this.progressWaiters = []
    for (const resolve of waiters) resolve()
  }

  private progress(): Promise<void> {
    return new Promise((resolve) => this.progressWaiters.push(resolve))
  }

  private async drain(firstWait: () => Promise<void>): Promise<void> {
    let wait: (() => Promise<void>) | undefined = firstWait
    for (let head = this.waiting[0]; head !== undefined; head = this.waiting[0]) {
      if (wait !== undefined) {
        this.waits++
        await wait()
      }
      wait = this.tryOrder(head)
      if (wait !== undefined) continue
      this.waiting.shift()
      for (const onPassed of head.onPassed ?? []) onPassed()
    }
  }

  /** Orders or refuses the transaction; what to wait for first when neither is possible yet. */
  private tryOrder(submission: Submission): (() => Promise<void>) | undefined {
    if (this.stopped !== undefined) {
      submission.reject(this.stopped)
      return undefined
    }
    const { compressed } = submission
    if (compressed !== undefined && !compressed.done) return () => compressed.ready
    const crowded = this.crowded()
    if (crowded) return () => this.progress()
    const execution = new Execution(this.lastSequence + 1, this.meta, this.allocator, submission.loaded)
    const planner = new WritePlanner(this.parts.planner, execution, compressed)
    try {
      const items = this.execute(submission.transaction, execution, planner)
      return this.order(submission, execution, planner, items)
    } catch (error) {
      execution.rollback()
      if (error instanceof NeedLoad) return error.load
      if (error instanceof NoSpace) return this.onNoSpace(submission, error)
      submission.reject(error)
      if (!isClusterError(error)) this.fail('a transaction broke an invariant', error)
      return undefined
    }
  }

  private execute(transaction: Transaction, execution: Execution, planner: WritePlanner): JournalItem[] {
    if (transaction.ops.length > operationsMax) {
      throw new ClusterError('EINVAL', `a transaction has at most ${operationsMax} operations`)
    }
    const items: JournalItem[] = []
    let index = 0
    for (const op of transaction.ops) {
      if (op.kind === 'write' || op.kind === 'zero' || op.kind === 'truncate') {
        const item = planner.plan(op)
        execution.applyBlocks(item, index)
        items.push(item)
      } else {
        execution.apply(op, index)
        items.push(op)
      }
      index++
    }
    if (this.host.isFull && (planner.images.length > 0 || planner.direct.length > 0)) throw new NoSpace(0)
    return items
  }

  /** The point of no return (invariant 1). */
  private order(
    submission: Submission,
    execution: Execution,
    planner: WritePlanner,
    items: readonly JournalItem[],
  ): (() => Promise<void>) | undefined {
    const { buffer, bodyBytes } = encodeBody(items)
    const payload = planner.images.length === 0 ? [] : joinAdjacent(planner.images.map((image) => image.data))
    const payloadBytes = planner.images.length * blockBytes
    const sizeBytes = buffer.length + payloadBytes
    if (sizeBytes > this.transactionBytesMax) {
      throw new ClusterError(
        'EINVAL',
        `a transaction of ${sizeBytes} journal bytes exceeds ${this.transactionBytesMax}`,
        {
          hint: 'split the transaction, or give the store a larger journal',
        },
      )
    }
    if (!this.journal.fits(sizeBytes)) {
      execution.rollback()
      this.startRound()
      return () => this.progress()
    }
    const { sequence } = execution
    const position = this.journal.reserve(sizeBytes)
    this.lastSequence = sequence
    // First the direct writes: a later operation of the same transaction may have written over them.
    const direct = planner.direct.length === 0 ? undefined : this.direct.write(planner.direct)
    for (const { unit, data } of planner.images) this.pending.addImage(unit, data, sequence)
    for (const unit of execution.freedUnits) {
      this.pending.drop(unit)
      this.data.forget(unit)
    }
    this.journal.append({
      sequence,
      position,
      sizeBytes,
      bodyBytes,
      payloadBytes,
      chunks: [buffer, ...payload],
      direct,
      orderedMs: submission.submittedMs,
      onDurable: submission.resolve,
    })
    this.afterOrder(planner)
    return undefined
  }

  private afterOrder(planner: WritePlanner): void {
    if (this.journal.usedBytes > this.parts.files.superblock.journalBytes / 2) this.startRound()
    else if (this.lastSequence % dirtyCheckEvery === 0 && this.meta.dirtyBytes > this.limits.checkpointDirtyBytes) {
      this.startRound()
    }
    let blocks = planner.images.length
    for (const { data } of planner.direct) blocks += data.length / blockBytes
    if (this.host.onAllocated(blocks)) {
      this.checkHostSpace().catch((cause: unknown) => this.fail('the file system does not answer', cause))
    }
  }

  /** Too much memory is waiting for the disk. */
  private crowded(): boolean {
    if (this.pending.bytes > this.limits.pendingBytesMax) {
      this.pending.pump()
      return true
    }
    if (this.lastSequence % dirtyCheckEvery === 0 && this.meta.dirtyBytes > this.limits.dirtyBytesMax) {
      this.startRound()
      return true
    }
    return false
  }

  /** Freed units come back with the next checkpoint; without any the store is full. */
  private onNoSpace(submission: Submission, error: NoSpace): (() => Promise<void>) | undefined {
    if (!this.host.isFull && this.meta.heldUnits > 0) {
      this.startRound()
      return () => this.progress()
    }
    this.refusals++
    submission.reject(error.toError(this.host.isFull, this.allocator.freeUnits))
    return undefined
  }

  private startRound(): void {
    if (this.round !== undefined) return
    const position = this.journal.headPosition
    this.round = this.checkpointer
      .round()
      .then(() => {
        this.journal.advanceTail(position)
        return this.checkHostSpace()
      })
      .catch((cause: unknown) => this.fail('the checkpoint failed', cause))
      .then(() => {
        this.round = undefined
        this.signal()
      })
  }

  private release(units: readonly number[]): void {
    for (const unit of units) {
      assert(!this.pending.has(unit), `nothing is pending for the freed unit ${unit}`)
      this.allocator.release(unit)
    }
  }

  private async checkHostSpace(): Promise<void> {
    await this.host.check()
    this.levelBytes = await this.parts.levelBytes()
  }

  private fail(reason: string, cause: unknown): void {
    if (this.stopped !== undefined) return
    this.stopped = new ClusterError('EIO', `the object store failed: ${reason}`, { cause, outcome: 'unknown' })
    this.env.abort(`object store: ${reason}`, cause)
  }
}
