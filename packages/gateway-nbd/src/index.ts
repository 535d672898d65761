export type {
  BlockDevice,
  DeviceData,
  DeviceExtent,
  DirtyExtent,
  ExportSource,
  NbdExport,
} from './block-device.ts'
export type { TlsOffer } from './connection-options.ts'
export type { ExportSummary, NbdPerf } from './counters.ts'
export { ImageExports, type ImageExportsOptions } from './image-exports.ts'
export { ClusterImages, type ClusterImagesOptions, type GatewayClient, type ImageSource } from './image-source.ts'
export { type NbdLimits, NbdServer, type NbdServerOptions } from './server.ts'
