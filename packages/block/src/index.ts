export { Image, type ImageData, type ImageExtent } from './image.ts'
export type { ImageChange } from './image-diff.ts'
export type { ImageSummary } from './image-directory.ts'
export type { ImageHeader } from './image-header.ts'
export type { ImageSnapshot, SnapshotKind, SnapshotTable } from './image-snapshot.ts'
export type { ImageSnapshots } from './image-snapshots.ts'
export { ImageStore, type ImageUsage, type ProgressListener } from './image-store.ts'
export type { ObjectIo, ObjectIoOptions } from './object-io.ts'
export type { Quiescer } from './quiescer.ts'
export {
  type ExportDiffOptions,
  exportContent,
  exportDiff,
  exportImage,
} from './transfer/export-image.ts'
export { type ImportDiffOptions, type ImportedDiff, importDiff, type TransferServices } from './transfer/import-diff.ts'
