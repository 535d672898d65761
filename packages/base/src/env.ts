/**
 * The world as the cluster sees it. Every daemon and library takes what it needs of {@link Env} through its
 * constructor; `runtime` implements it on the real machine, `testkit` and the simulator in memory under one seed.
 * Nothing else may read a clock, draw a random number, set a timer or touch a disk or a socket.
 */
import type { Compression } from './compression.ts'
import type { Address } from './ids.ts'

export interface Clock {
  /** Milliseconds (with fractions) that never go back; the origin means nothing. For intervals and leases. */
  monotonicMs(): number
  /** Milliseconds since the Unix epoch; may jump. For people only, never for decisions. */
  wallMs(): number
}

export interface Timer {
  /** Idempotent; a cancelled timer never fires. */
  cancel(): void
}

export interface Timers {
  after(delayMs: number, callback: () => void): Timer
  /** Runs once the current turn of the event loop and what it has already queued are done: the place to cork output. */
  soon(callback: () => void): void
}

export interface Random {
  uint32(): number
  fraction(): number
  below(limit: number): number
  uint53(): number
  /** Fit for keys: on a real machine nobody can foresee them, whatever else was drawn. */
  bytes(length: number): Uint8Array
}

/** Chunks to be written one after the other from `offset`. */
export interface FileWrite {
  readonly chunks: readonly Uint8Array[]
  readonly offset: number
}

/**
 * An open file. Offsets and lengths are bytes. A write is on stable storage only after a later `datasync` resolved;
 * until then a power cut may keep, drop or tear it at 512-byte sectors, in any order.
 */
export interface FileHandle {
  /** Reads into `buffer`; returns fewer bytes only at the end of the file. */
  read(buffer: Uint8Array, offset: number): Promise<number>
  /** Writes all chunks one after the other from `offset` (one `pwritev`). Rejects with the system's error. */
  write(chunks: readonly Uint8Array[], offset: number): Promise<void>
  /** A write that is on stable storage once it resolved, for the price of one call. Nothing is said of other writes. */
  writeDurable(chunks: readonly Uint8Array[], offset: number): Promise<void>
  /**
   * Many small writes that do not overlap, in any order, for the price of about one call when their bytes are in shared
   * memory (`SharedArrayBuffer`), which must stay as it is meanwhile. Resolves when all are done, like as many `write`s.
   */
  writeMany(writes: readonly FileWrite[]): Promise<void>
  /** Flushes data and size. After a rejection nothing about earlier writes is known (the daemon must end). */
  datasync(): Promise<void>
  truncate(sizeBytes: number): Promise<void>
  sizeBytes(): Promise<number>
  close(): Promise<void>
}

export type OpenMode = 'read' | 'read-write' | 'create'

export interface Disk {
  /** `create` opens for reading and writing and makes the file if it is missing. Rejects with ENOENT, EIO, EACCES. */
  open(path: string, mode: OpenMode): Promise<FileHandle>
  /** With parents; no error if it exists. */
  makeDirectory(path: string): Promise<void>
  /** Names of entries, sorted; rejects with ENOENT. */
  list(path: string): Promise<readonly string[]>
  exists(path: string): Promise<boolean>
  /** Removes a file or a whole directory; no error if missing. */
  remove(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** Makes creations, renames and removals in this directory durable. */
  syncDirectory(path: string): Promise<void>
  readFile(path: string): Promise<Uint8Array>
  /** Replaces the file atomically and durably: temporary file, datasync, rename, directory sync. */
  writeFileAtomic(path: string, content: Uint8Array): Promise<void>
  /** Capacity of the file system that holds `path`. */
  space(path: string): Promise<{ readonly totalBytes: number; readonly freeBytes: number }>
  /** Takes an exclusive lock for the life of the process, so that two daemons never share a directory; EBUSY if held. */
  lock(path: string): Promise<{ release(): Promise<void> }>
}

export type KeyValueOp =
  | { readonly kind: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: Uint8Array }

export interface KeyRange {
  readonly from?: Uint8Array
  /** Exclusive upper bound. */
  readonly to?: Uint8Array
  readonly reverse?: boolean
  readonly limit?: number
}

/** An ordered store of byte keys. A batch is atomic; it is durable once it, or any later one, resolved with `sync`. */
export interface KeyValueStore {
  get(key: Uint8Array): Promise<Uint8Array | undefined>
  batch(ops: readonly KeyValueOp[], options: { readonly sync: boolean }): Promise<void>
  /** Entries of a consistent snapshot in key order; at most `limit`. Page through large ranges with `from`. */
  entries(range: KeyRange): Promise<readonly (readonly [key: Uint8Array, value: Uint8Array])[]>
  close(): Promise<void>
}

export interface KeyValueStores {
  /** Opens (or makes) the store in this directory; EBUSY when another process holds it. */
  open(path: string): Promise<KeyValueStore>
}

/** What a byte stream tells its owner. Calls come in order, never inside a call of the owner's to the stream. */
export interface ByteStreamHandler {
  onOpen(): void
  /** The chunk is the receiver's until the call returns; whoever keeps bytes copies them. */
  onData(chunk: Uint8Array): void
  /** The write buffer went below the low-water mark after `write` had returned false. */
  onDrain(): void
  /** Exactly once, last. `error` is undefined for an orderly end. */
  onClose(error: Error | undefined): void
}

/** One TCP connection, or the simulator's like of it. */
export interface ByteStream {
  readonly remote: string
  attach(handler: ByteStreamHandler): void
  /** Queues the chunks by reference. False means: above the high-water mark, wait for `onDrain`. */
  write(chunks: readonly Uint8Array[]): boolean
  readonly bufferedBytes: number
  /** Stops and restarts `onData`: backpressure towards the peer. */
  pause(): void
  resume(): void
  /** Sends what is queued, then closes. */
  end(): void
  /** Closes at once. */
  destroy(): void
}

export interface Listener {
  readonly address: Address
  close(): Promise<void>
}

export interface Network {
  /** Never throws: failure arrives as `onClose`. */
  connect(address: Address): ByteStream
  /** Port 0 picks a free one. Rejects with EADDRINUSE and its like. */
  listen(address: Address, onConnection: (stream: ByteStream) => void): Promise<Listener>
}

export type LogFields = Readonly<Record<string, unknown>>

export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** The same log with a subsystem in front: `osd`, `pg`, `store`, `mon`. */
  child(subsystem: string): Log
}

export interface Env {
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly disk: Disk
  readonly keyValue: KeyValueStores
  readonly compression: Compression
  readonly network: Network
  readonly log: Log
  /** Ends this daemon at once, as a failed fsync or a broken invariant demands; nothing buffered is written. */
  readonly abort: (reason: string, cause?: unknown) => never
}
