export type { BlockDevice, DeviceData, DeviceExtent, ExportSource, NbdExport } from './block-device.ts'
export { ImageExports, type ImageExportsOptions } from './image-exports.ts'
export { ClusterImages, type ClusterImagesOptions, type GatewayClient, type ImageSource } from './image-source.ts'
export { NbdServer } from './server.ts'
