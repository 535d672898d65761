export type { HistogramSummary } from '@shoal/base'
export {
  type CompressionMode,
  compressionDefaults,
  compressionModes,
  type PoolCompression,
} from './blob-compressor.ts'
export { ChecksumError } from './data-reader.ts'
export { FileObjectStore } from './file-object-store.ts'
export { type FsckCode, type FsckFinding, type FsckOptions, type FsckReport, fsckObjectStore } from './fsck.ts'
export * from './object-store.ts'
export type { CreateOptions } from './store-files.ts'
export { defaultJournalBytes } from './store-files.ts'
export type { MountOptions } from './store-options.ts'
