export { createErasureCode, type ErasureCode, type ErasureCodeOptions, xorChunks } from './code.ts'
