export type { BlockDevice, DeviceData, DeviceExtent, ExportSource, NbdExport } from './block-device.ts'
export { ImageExports, type ImageExportsOptions } from './image-exports.ts'
export { NbdServer } from './server.ts'
