export type {
  BlockDevice,
  DeviceData,
  DeviceExtent,
  DirtyExtent,
  ExportSource,
  NbdExport,
} from './block-device.ts'
export type { TlsOffer } from './connection.ts'
export type { ExportSummary, NbdPerf } from './counters.ts'
export { ImageExports, type ImageExportsOptions } from './image-exports.ts'
export { type NbdLimits, NbdServer, type NbdServerOptions } from './server.ts'
