export { Image, type ImageData, type ImageExtent } from './image.ts'
export type { ImageHeader } from './image-header.ts'
export { ImageStore, type ImageSummary, type ImageUsage, type ProgressListener } from './image-store.ts'
export type { ObjectIo } from './object-io.ts'
