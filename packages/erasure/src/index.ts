export { createErasureCode, type ErasureCode, type ErasureCodeOptions, xorChunks } from './code.ts'
export { linearDigest, linearDigestChunk } from './linear-digest.ts'
export {
  type ErasureCodeProfile,
  formatErasureCodeProfile,
  parseErasureCodeProfile,
  stripeLayoutOf,
} from './profile.ts'
export * from './stripe.ts'
