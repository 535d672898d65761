/** What a mount can be told, and the bounds on memory that follow. */
export interface MountOptions {
  /** Block images and direct writes on their way to the data file. */
  readonly pendingBytesMax?: number
  /** Changed metadata that `level` does not have yet. */
  readonly dirtyBytesMax?: number
  readonly metaCacheBytes?: number
  readonly dataCacheBytes?: number
  /** A whole-block body from this size on goes straight to the data file. */
  readonly largeWriteBytes?: number
  /**
   * What to do when acknowledged transactions are missing from the journal: `refuse` (the default) rejects with EIO;
   * `recover` goes on with the older state and sets `lostTransactions`.
   */
  readonly onJournalDamage?: 'refuse' | 'recover'
  /** Of an encrypted store: EACCES without it, or with another. */
  readonly storeKey?: Uint8Array | undefined
}

export interface StoreLimits {
  readonly pendingBytesMax: number
  readonly pendingLowWaterBytes: number
  readonly dirtyBytesMax: number
  readonly checkpointDirtyBytes: number
  readonly metaCacheBytes: number
  readonly dataCacheBytes: number
  readonly largeWriteBytes: number
  readonly onJournalDamage: 'refuse' | 'recover'
  /** Below this much free space of the file system, transactions that place bytes are refused. */
  readonly storeKey: Uint8Array | undefined
  readonly hostReserveBytes: number
  readonly hostCheckBlocks: number
}

const mebibyte = 1024 * 1024

export function resolveOptions(options: MountOptions): StoreLimits {
  const pendingBytesMax = options.pendingBytesMax ?? 16 * mebibyte
  const dirtyBytesMax = options.dirtyBytesMax ?? 48 * mebibyte
  return {
    pendingBytesMax,
    pendingLowWaterBytes: pendingBytesMax / 2,
    dirtyBytesMax,
    checkpointDirtyBytes: dirtyBytesMax / 3,
    metaCacheBytes: options.metaCacheBytes ?? 24 * mebibyte,
    dataCacheBytes: options.dataCacheBytes ?? 8 * mebibyte,
    largeWriteBytes: options.largeWriteBytes ?? 64 * 1024,
    onJournalDamage: options.onJournalDamage ?? 'refuse',
    storeKey: options.storeKey,
    hostReserveBytes: 64 * mebibyte,
    hostCheckBlocks: 4096,
  }
}
