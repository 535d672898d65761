export { tellAll } from './header-channel.ts'
export { encodeNotice, type HeaderNotice, type NoticeAnswer, type NoticeKind } from './header-notice.ts'
export { Image, type ImageData, type ImageExtent } from './image.ts'
export { type ImageHeader, replaceHeader, type StoredHeader } from './image-header.ts'
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
export { ImageStore, type ImageSummary, type ImageUsage, type ProgressListener } from './image-store.ts'
export type { ChannelIo, Fencer, ObjectIo } from './object-io.ts'
