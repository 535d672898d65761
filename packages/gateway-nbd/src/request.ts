/**
 * Requests of the transmission phase: parsing, and the checks that need only the request and what was negotiated.
 *
 * A request is followed by its payload whether we want it or not, and the next request is found only behind it. So a
 * payload that nobody will hold is read and dropped (`oversized`), and only what no honest client sends ends the
 * connection.
 */
import type { InputBuffer } from '@shoal/base'
import {
  command,
  commandFlag,
  extendedHeaderBytes,
  extendedRequestMagic,
  limits,
  type NbdError,
  requestHeaderBytes,
  requestMagic,
  transmissionFlag,
} from './protocol.ts'

export interface NbdRequest {
  readonly flags: number
  readonly type: number
  readonly cookieHigh: number
  readonly cookieLow: number
  /** As it was sent: an extended reply repeats it, also where `offset` cannot hold it exactly. */
  readonly offsetHigh: number
  readonly offsetLow: number
  readonly offset: number
  /** Of the range, in bytes; of the payload where that is what the request is about. */
  readonly length: number
  /** What followed the header: the bytes of WRITE, the context ids of BLOCK_STATUS. */
  readonly data: Uint8Array | undefined
  /** Its payload was too long to be held, and was dropped. */
  readonly oversized: boolean
}

/** Filled in by the parser, then handed out: not copied, since this is once per request. */
type ParsedHeader = { -readonly [Field in keyof NbdRequest]: NbdRequest[Field] }

/** Unfollowable: where the next request begins cannot be told (bad magic), or would take too much reading. */
export type ParsedRequest = NbdRequest | 'need-bytes' | 'unfollowable'

export class RequestParser {
  private readonly extended: boolean
  private header: ParsedHeader | undefined
  /** What is still to come of the payload of `header`. */
  private payloadBytes = 0

  constructor(extended: boolean) {
    this.extended = extended
  }

  next(input: InputBuffer): ParsedRequest {
    if (this.header === undefined) {
      if (input.length < (this.extended ? extendedHeaderBytes : requestHeaderBytes)) return 'need-bytes'
      const header = this.extended ? parseExtended(input) : parseCompact(input)
      if (header === undefined) return 'unfollowable'
      if (!hasPayload(header, this.extended)) return header
      if (header.length > limits.skippedBytesMax) return 'unfollowable'
      this.header = header
      this.payloadBytes = header.length
    }
    const header = this.header
    if (header.length > limits.payloadBytesMax) {
      this.payloadBytes -= input.drop(this.payloadBytes)
      if (this.payloadBytes > 0) return 'need-bytes'
      header.oversized = true
    } else {
      if (input.length < header.length) {
        input.reserve(header.length)
        return 'need-bytes'
      }
      header.data = input.take(header.length)
    }
    this.header = undefined
    return header
  }
}

function hasPayload(header: NbdRequest, extended: boolean): boolean {
  // A client that forgets the flag on an extended write still sends the bytes: nobody takes a write for anything else.
  return header.type === command.write || (extended && (header.flags & commandFlag.payloadLength) !== 0)
}

function parseCompact(input: InputBuffer): ParsedHeader | undefined {
  const bytes = input.take(requestHeaderBytes)
  const fields = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return fields.getUint32(0) === requestMagic ? requestOf(fields, fields.getUint32(24)) : undefined
}

function parseExtended(input: InputBuffer): ParsedHeader | undefined {
  const bytes = input.take(extendedHeaderBytes)
  const fields = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (fields.getUint32(0) !== extendedRequestMagic) return undefined
  return requestOf(fields, fields.getUint32(24) * 0x1_0000_0000 + fields.getUint32(28))
}

function requestOf(fields: DataView, length: number): ParsedHeader {
  const offsetHigh = fields.getUint32(16)
  const offsetLow = fields.getUint32(20)
  return {
    flags: fields.getUint16(4),
    type: fields.getUint16(6),
    cookieHigh: fields.getUint32(8),
    cookieLow: fields.getUint32(12),
    offsetHigh,
    offsetLow,
    offset: offsetHigh * 0x1_0000_0000 + offsetLow,
    length,
    data: undefined,
    oversized: false,
  }
}

/** What holds for all requests of a connection, once its handshake is over. */
export interface TransmissionTerms {
  /** As the client was told them: what it may use. */
  readonly flags: number
  readonly extended: boolean
  /** Metadata contexts that were selected. */
  readonly contexts: number
}

const allowedFlags = new Map<number, number>([
  [command.read, commandFlag.df],
  [command.write, commandFlag.payloadLength],
  [command.flush, 0],
  [command.trim, 0],
  [command.cache, 0],
  [command.writeZeroes, commandFlag.noHole | commandFlag.fastZero],
  [command.blockStatus, commandFlag.reqOne | commandFlag.payloadLength],
])

const slowFastZero = commandFlag.fastZero | commandFlag.noHole

const changing: ReadonlySet<number> = new Set([command.write, command.trim, command.writeZeroes])

/** The error that the request earns before the device is asked; undefined when it is sound. */
export function findFault(request: NbdRequest, terms: TransmissionTerms, sizeBytes: number): NbdError | undefined {
  const { type, flags, length } = request
  const allowed = allowedFlags.get(type)
  if (allowed === undefined || request.oversized) return 'EINVAL'
  // Clients may set FUA on any command; it means something only where something is written.
  if ((flags & ~commandFlag.fua) !== 0) {
    if ((flags & ~(allowed | commandFlag.fua)) !== 0 || !areNegotiated(flags, terms)) return 'EINVAL'
    // Zeros that must take space are written out: no faster than a write of the client's own.
    if ((flags & slowFastZero) === slowFastZero) return 'ENOTSUP'
  }
  if (type === command.flush) return request.offset !== 0 || length !== 0 ? 'EINVAL' : undefined
  if (type === command.blockStatus) return findStatusFault(request, terms, sizeBytes)
  if (type === command.read && length > limits.payloadBytesMax) return 'EINVAL'
  if (changing.has(type) && (terms.flags & transmissionFlag.readOnly) !== 0) return 'EPERM'
  if (request.offset + length > sizeBytes) return type === command.write ? 'ENOSPC' : 'EINVAL'
  return undefined
}

function areNegotiated(flags: number, terms: TransmissionTerms): boolean {
  if ((flags & commandFlag.df) !== 0 && (terms.flags & transmissionFlag.sendDf) === 0) return false
  if ((flags & commandFlag.fastZero) !== 0 && (terms.flags & transmissionFlag.sendFastZero) === 0) return false
  return (flags & commandFlag.payloadLength) === 0 || terms.extended
}

function findStatusFault(request: NbdRequest, terms: TransmissionTerms, sizeBytes: number): NbdError | undefined {
  if (terms.contexts === 0) return 'EINVAL'
  const query = statusQuery(request)
  if (query === undefined || query.length === 0) return 'EINVAL'
  return request.offset + query.length > sizeBytes ? 'EINVAL' : undefined
}

export interface StatusQuery {
  readonly length: number
  /** Undefined: all that were selected. */
  readonly contextIds: readonly number[] | undefined
}

/** What a BLOCK_STATUS asks; undefined when its payload (64-bit length of the range, then ids of contexts) is malformed. */
export function statusQuery({ data, length }: NbdRequest): StatusQuery | undefined {
  if (data === undefined) return { length, contextIds: undefined }
  if (data.length < 12 || data.length % 4 !== 0) return undefined
  const fields = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const contextIds = new Set<number>()
  for (let at = 8; at < data.length; at += 4) contextIds.add(fields.getUint32(at))
  if (contextIds.size !== data.length / 4 - 2) return undefined
  return { length: fields.getUint32(0) * 0x1_0000_0000 + fields.getUint32(4), contextIds: [...contextIds] }
}
