export type { GroupSnapshot } from './group-record.ts'
export { tellAll } from './header-channel.ts'
export { encodeNotice, type HeaderNotice, type NoticeAnswer, type NoticeKind } from './header-notice.ts'
export { Image, type ImageData, type ImageExtent } from './image.ts'
export type { ImageChild } from './image-children.ts'
export type { CloneOptions, CloneSource, ImageClones } from './image-clones.ts'
export { type ImageConfig, imageOption, imageOptions, readImageConfig, setImageOption } from './image-config.ts'
export type { ImageChange } from './image-diff.ts'
export type { ImageSummary } from './image-directory.ts'
export { type GroupServices, type ImageGroup, ImageGroups } from './image-groups.ts'
export { type ImageHeader, readHeader, replaceHeader, type StoredHeader } from './image-header.ts'
export {
  breakImageLock,
  type ImageLockHolder,
  isAutomatic,
  readLockHolder,
  removeImageLock,
  takeImageLock,
} from './image-lock.ts'
export { type Pause, type PauseOptions, pauseImage, pauseMsDefault } from './image-pause.ts'
export { ImageSession, type ImageSessionOptions } from './image-session.ts'
export { type ImageSnapshot, type SnapshotKind, type SnapshotTable, visibleSnapshots } from './image-snapshot.ts'
export type { ImageSnapshots } from './image-snapshots.ts'
export { ImageStore, type ImageUsage } from './image-store.ts'
export type { TrashedImage } from './image-trash.ts'
export {
  demoteMirror,
  disableMirror,
  enableMirror,
  promoteMirror,
  resyncMirror,
} from './mirror/mirror-admin.ts'
export { type MirrorSide, type MirrorState, type MirrorStep, planMirrorStep } from './mirror/mirror-plan.ts'
export { MirrorPool } from './mirror/mirror-pool.ts'
export { listMirrored } from './mirror/mirror-record.ts'
export { type MirrorOptions, mirrorImage, mirrorPool } from './mirror/mirror-steps.ts'
export type { ChannelIo, Fencer, ObjectIo, ObjectIoOptions } from './object-io.ts'
export type { ParentLink } from './parent-link.ts'
export { QosGate } from './qos-gate.ts'
export { channelQuiescer, type Hold, type Quiescer } from './quiescer.ts'
export type { ProgressListener } from './store-services.ts'
export { copyImage } from './transfer/copy-image.ts'
export {
  type ExportDiffOptions,
  exportContent,
  exportDiff,
  exportImage,
} from './transfer/export-image.ts'
export { type ImportDiffOptions, type ImportedDiff, importDiff, type TransferServices } from './transfer/import-diff.ts'
export { type ImportedImage, type ImportImageOptions, importContent, importImage } from './transfer/import-image.ts'
