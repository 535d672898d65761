/**
 * The numbers of the NBD protocol, by the names of its specification (doc/proto.md of the NBD project): fixed newstyle
 * handshake and transmission. All integers on the wire are big-endian.
 */
export const nbdMagic = 0x4e42444d41474943n
export const optionMagic = 0x49484156454f5054n
export const optionReplyMagic = 0x0003e889045565a9n
export const requestMagic = 0x25609513
export const simpleReplyMagic = 0x67446698
export const structuredReplyMagic = 0x668e33ef
/** Once extended headers are negotiated: 64-bit lengths, and headers of one size both ways. */
export const extendedRequestMagic = 0x21e41c71
export const extendedReplyMagic = 0x6e8a278c

export const handshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const

export const option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
  extendedHeaders: 11,
} as const

export const optionReply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  errorUnsupported: 0x8000_0001,
  errorPolicy: 0x8000_0002,
  errorInvalid: 0x8000_0003,
  errorTlsRequired: 0x8000_0005,
  errorUnknown: 0x8000_0006,
  errorShutdown: 0x8000_0007,
  errorTooBig: 0x8000_0009,
  errorExtendedHeadersRequired: 0x8000_000a,
} as const

export const infoType = { export: 0, name: 1, description: 2, blockSize: 3 } as const

export const transmissionFlag = {
  hasFlags: 1,
  readOnly: 2,
  sendFlush: 4,
  sendFua: 8,
  sendTrim: 32,
  sendWriteZeroes: 64,
  sendDf: 128,
  canMultiConn: 256,
  sendCache: 1024,
  sendFastZero: 2048,
  blockStatusPayload: 4096,
} as const

export const command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const

export const commandFlag = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16, payloadLength: 32 } as const

export const chunkType = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  blockStatusExtended: 6,
  error: 0x8001,
} as const
export const chunkDone = 1

/** Status bits of the `base:allocation` metadata context. */
export const allocationState = { allocated: 0, hole: 1, zero: 2 } as const
export const allocationContext = 'base:allocation'

/** Bit 0 of a `qemu:dirty-bitmap:` context: the range may have changed since. */
export const dirtyState = 1
export const dirtyContextPrefix = 'qemu:dirty-bitmap:'

export const nbdError = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const
export type NbdError = keyof typeof nbdError

export const requestHeaderBytes = 28
export const extendedHeaderBytes = 32
export const simpleReplyBytes = 16
export const structuredReplyHeaderBytes = 20

/** Bounds on what a client may make us hold. The specification asks for at least 4096 bytes of names and 32 MiB of payload. */
export const limits = {
  /** Of a refused request, what is read and dropped so that the connection goes on; more ends it. */
  skippedBytesMax: 268_435_456,
  errorTextCharactersMax: 256,
  /** Of an option that is refused for its length, what is read and dropped; more ends the connection. */
  skippedOptionBytesMax: 1_048_576,
  optionBytesMax: 65_536,
  exportNameBytesMax: 4096,
  payloadBytesMax: 33_554_432,
  metaContextQueriesMax: 64,
  optionsMax: 1024,
} as const
