export type { BlockDevice, DeviceExtent, ExportSource, NbdExport } from './block-device.ts'
export { zeroChunks } from './connection.ts'
export { NbdServer } from './server.ts'
