/** Requests of the transmission phase: parsing, and the checks that need only the request and the device. */
import type { BlockDevice } from './block-device.ts'
import type { ByteQueue } from './byte-queue.ts'
import { command, commandFlag, limits, type NbdError, requestHeaderBytes, requestMagic } from './protocol.ts'

export interface NbdRequest {
  readonly flags: number
  readonly type: number
  readonly cookieHigh: number
  readonly cookieLow: number
  readonly offset: number
  readonly length: number
  /** Of WRITE only. */
  readonly data: Uint8Array | undefined
}

/** Undefined: the stream cannot be followed any more (bad magic, oversized payload), the connection must end. */
export type ParsedRequest = NbdRequest | 'need-bytes' | 'unfollowable'

export class RequestParser {
  private header: NbdRequest | undefined

  next(input: ByteQueue): ParsedRequest {
    if (this.header === undefined) {
      if (input.length < requestHeaderBytes) return 'need-bytes'
      const bytes = input.take(requestHeaderBytes)
      const fields = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      if (fields.getUint32(0) !== requestMagic) return 'unfollowable'
      this.header = {
        flags: fields.getUint16(4),
        type: fields.getUint16(6),
        cookieHigh: fields.getUint32(8),
        cookieLow: fields.getUint32(12),
        offset: fields.getUint32(16) * 0x1_0000_0000 + fields.getUint32(20),
        length: fields.getUint32(24),
        data: undefined,
      }
    }
    const header = this.header
    if (header.type === command.write) {
      // The payload must be read to find the next request; one that we would not hold ends the connection.
      if (header.length > limits.payloadBytesMax) return 'unfollowable'
      if (input.length < header.length) return 'need-bytes'
    }
    this.header = undefined
    return header.type === command.write ? { ...header, data: input.take(header.length) } : header
  }
}

const allowedFlags = new Map<number, number>([
  [command.read, commandFlag.df],
  [command.write, commandFlag.fua],
  [command.flush, 0],
  [command.trim, commandFlag.fua],
  [command.cache, 0],
  [command.writeZeroes, commandFlag.fua | commandFlag.noHole | commandFlag.fastZero],
  [command.blockStatus, commandFlag.reqOne],
])

const slowFastZero = commandFlag.fastZero | commandFlag.noHole

const changing: ReadonlySet<number> = new Set([command.write, command.trim, command.writeZeroes])

/** The error that the request earns before the device is asked; undefined when it is sound. */
export function findFault(
  request: NbdRequest,
  device: BlockDevice,
  blockStatusNegotiated: boolean,
): NbdError | undefined {
  const allowed = allowedFlags.get(request.type)
  if (allowed === undefined) return 'EINVAL'
  // Clients may set FUA on any command; it means something only where something is written.
  if ((request.flags & ~(allowed | commandFlag.fua)) !== 0) return 'EINVAL'
  if (request.type === command.flush) return request.offset !== 0 || request.length !== 0 ? 'EINVAL' : undefined
  if (request.type === command.blockStatus && (!blockStatusNegotiated || request.length === 0)) return 'EINVAL'
  if (request.type === command.read && request.length > limits.payloadBytesMax) return 'EOVERFLOW'
  if (changing.has(request.type) && device.readOnly) return 'EPERM'
  // Zeros that must take space are written out: no faster than a write of the client's own.
  if (request.type === command.writeZeroes && (request.flags & slowFastZero) === slowFastZero) return 'ENOTSUP'
  if (request.offset + request.length > device.sizeBytes) return request.type === command.write ? 'ENOSPC' : 'EINVAL'
  return undefined
}
