/**
 * Replies of the transmission phase in the form that was negotiated, as chunks for one gathered write; payload is passed
 * on by reference.
 *
 * 1. A reply ends with exactly one chunk that says so (`done`), or is simple.
 * 2. A read's chunks cover its range once, in order.
 * 3. With structured replies, reads and status answer in chunks, errors included; with extended headers, everything does.
 */
import { utf8Encode } from '@shoal/base'
import type { DeviceData } from './block-device.ts'
import {
  chunkDone,
  chunkType,
  command,
  commandFlag,
  extendedHeaderBytes,
  extendedReplyMagic,
  limits,
  type NbdError,
  nbdError,
  simpleReplyBytes,
  simpleReplyMagic,
  structuredReplyHeaderBytes,
  structuredReplyMagic,
} from './protocol.ts'
import type { NbdRequest } from './request.ts'

export type ReplyForm = 'simple' | 'structured' | 'extended'

/** A range and its state, in the terms of the context that it is an extent of. */
export interface StatusExtent {
  readonly length: number
  readonly status: number
}

/** Success without payload. */
export function doneReply(form: ReplyForm, request: NbdRequest): Uint8Array[] {
  return form === 'extended' ? doneChunk(form, request) : [simpleHeader(request, 0)]
}

/** `text` is for whoever looks at the client's messages; simple replies have no room for it. */
export function errorReply(form: ReplyForm, request: NbdRequest, error: NbdError, text: string): Uint8Array[] {
  if (form === 'simple' || (form === 'structured' && !answersInChunks(request))) {
    return [simpleHeader(request, nbdError[error])]
  }
  const message = utf8Encode(text.slice(0, limits.errorTextCharactersMax))
  const { fields, body } = chunk(form, request, chunkType.error, true, 6, message.length)
  fields.setUint32(body, nbdError[error])
  fields.setUint16(body + 4, message.length)
  return [bytesOf(fields), message]
}

export function readReply(form: ReplyForm, request: NbdRequest, pieces: readonly DeviceData[]): Uint8Array[] {
  if (form === 'simple') return [simpleHeader(request, 0), ...pieces.flatMap(bytesOfPiece)]
  if (pieces.length === 0) return doneChunk(form, request)
  return (request.flags & commandFlag.df) === 0
    ? sparseChunks(form, request, pieces)
    : dataChunk(form, request, request.offset, pieces.flatMap(bytesOfPiece), true)
}

/** The extents of one context; `done` with the last context. */
export function statusChunk(
  form: ReplyForm,
  request: NbdRequest,
  contextId: number,
  extents: readonly StatusExtent[],
  done: boolean,
): Uint8Array[] {
  if (form === 'extended') {
    const bytes = 8 + 16 * extents.length
    const { fields, body } = chunk(form, request, chunkType.blockStatusExtended, done, bytes, 0)
    fields.setUint32(body, contextId)
    fields.setUint32(body + 4, extents.length)
    extents.forEach(({ length, status }, i) => {
      setUint64(fields, body + 8 + 16 * i, length)
      setUint64(fields, body + 16 + 16 * i, status)
    })
    return [bytesOf(fields)]
  }
  const { fields, body } = chunk(form, request, chunkType.blockStatus, done, 4 + 8 * extents.length, 0)
  fields.setUint32(body, contextId)
  extents.forEach(({ length, status }, i) => {
    fields.setUint32(body + 4 + 8 * i, length)
    fields.setUint32(body + 8 + 8 * i, status)
  })
  return [bytesOf(fields)]
}

/** Only READ and BLOCK_STATUS must; all else may always answer simply, unless headers are extended. */
function answersInChunks(request: NbdRequest): boolean {
  return request.type === command.read || request.type === command.blockStatus
}

function simpleHeader(request: NbdRequest, error: number): Uint8Array {
  const header = new DataView(new ArrayBuffer(simpleReplyBytes))
  header.setUint32(0, simpleReplyMagic)
  header.setUint32(4, error)
  header.setUint32(8, request.cookieHigh)
  header.setUint32(12, request.cookieLow)
  return bytesOf(header)
}

/** A header with `bodyBytes` of fields behind it, which the caller fills in from `body` on; `payloadBytes` follow those. */
function chunk(
  form: ReplyForm,
  request: NbdRequest,
  type: number,
  done: boolean,
  bodyBytes: number,
  payloadBytes: number,
): { readonly fields: DataView; readonly body: number } {
  const extended = form === 'extended'
  const body = extended ? extendedHeaderBytes : structuredReplyHeaderBytes
  const fields = new DataView(new ArrayBuffer(body + bodyBytes))
  fields.setUint32(0, extended ? extendedReplyMagic : structuredReplyMagic)
  fields.setUint16(4, done ? chunkDone : 0)
  fields.setUint16(6, type)
  fields.setUint32(8, request.cookieHigh)
  fields.setUint32(12, request.cookieLow)
  if (extended) {
    fields.setUint32(16, request.offsetHigh)
    fields.setUint32(20, request.offsetLow)
  }
  // Lengths of replies stay below 4 GiB in both forms.
  fields.setUint32(body - 4, bodyBytes + payloadBytes)
  return { fields, body }
}

function setUint64(fields: DataView, at: number, value: number): void {
  fields.setUint32(at, Math.floor(value / 0x1_0000_0000))
  fields.setUint32(at + 4, value % 0x1_0000_0000)
}

function bytesOf(fields: DataView): Uint8Array {
  return new Uint8Array(fields.buffer)
}

function doneChunk(form: ReplyForm, request: NbdRequest): Uint8Array[] {
  return [bytesOf(chunk(form, request, chunkType.none, true, 0, 0).fields)]
}

function dataChunk(
  form: ReplyForm,
  request: NbdRequest,
  offset: number,
  data: readonly Uint8Array[],
  done: boolean,
): Uint8Array[] {
  const length = data.reduce((sum, part) => sum + part.length, 0)
  const { fields, body } = chunk(form, request, chunkType.offsetData, done, 8, length)
  setUint64(fields, body, offset)
  return [bytesOf(fields), ...data]
}

function holeChunk(form: ReplyForm, request: NbdRequest, offset: number, length: number, done: boolean): Uint8Array {
  const { fields, body } = chunk(form, request, chunkType.offsetHole, done, 12, 0)
  setUint64(fields, body, offset)
  fields.setUint32(body + 8, length)
  return bytesOf(fields)
}

/** One chunk per run of data and per hole, the last one marked as done. */
function sparseChunks(form: ReplyForm, request: NbdRequest, pieces: readonly DeviceData[]): Uint8Array[] {
  const reply: Uint8Array[] = []
  let offset = request.offset
  pieces.forEach((piece, i) => {
    const done = i === pieces.length - 1
    if (piece.kind === 'hole') {
      reply.push(holeChunk(form, request, offset, piece.length, done))
      offset += piece.length
    } else {
      reply.push(...dataChunk(form, request, offset, [piece.data], done))
      offset += piece.data.length
    }
  })
  return reply
}

const zeroBytes = new Uint8Array(1024 * 1024)

function bytesOfPiece(piece: DeviceData): Uint8Array[] {
  if (piece.kind === 'data') return [piece.data]
  const chunks: Uint8Array[] = []
  for (let left = piece.length; left > 0; left -= zeroBytes.length) {
    chunks.push(zeroBytes.subarray(0, Math.min(left, zeroBytes.length)))
  }
  return chunks
}
