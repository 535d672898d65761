/** Replies of the transmission phase, as chunks for one gathered write; payload is passed on by reference. */
import type { DeviceExtent } from './block-device.ts'
import {
  allocationContextId,
  allocationState,
  chunkDone,
  chunkType,
  type NbdError,
  nbdError,
  simpleReplyBytes,
  simpleReplyMagic,
  structuredReplyHeaderBytes,
  structuredReplyMagic,
} from './protocol.ts'
import type { NbdRequest } from './request.ts'

export function simpleReply(
  request: NbdRequest,
  error: NbdError | undefined,
  data: readonly Uint8Array[] = [],
): Uint8Array[] {
  const header = new DataView(new ArrayBuffer(simpleReplyBytes))
  header.setUint32(0, simpleReplyMagic)
  header.setUint32(4, error === undefined ? 0 : nbdError[error])
  header.setUint32(8, request.cookieHigh)
  header.setUint32(12, request.cookieLow)
  return [new Uint8Array(header.buffer), ...data]
}

/** One chunk: its header with `body` bytes of fields behind it that the caller fills in from offset 20. */
function chunk(request: NbdRequest, type: number, done: boolean, bodyBytes: number, payloadBytes: number): DataView {
  const fields = new DataView(new ArrayBuffer(structuredReplyHeaderBytes + bodyBytes))
  fields.setUint32(0, structuredReplyMagic)
  fields.setUint16(4, done ? chunkDone : 0)
  fields.setUint16(6, type)
  fields.setUint32(8, request.cookieHigh)
  fields.setUint32(12, request.cookieLow)
  fields.setUint32(16, bodyBytes + payloadBytes)
  return fields
}

const body = structuredReplyHeaderBytes

function setOffset(fields: DataView, at: number, offset: number): void {
  fields.setUint32(at, Math.floor(offset / 0x1_0000_0000))
  fields.setUint32(at + 4, offset % 0x1_0000_0000)
}

function bytesOf(fields: DataView): Uint8Array {
  return new Uint8Array(fields.buffer)
}

export function doneChunk(request: NbdRequest): Uint8Array[] {
  return [bytesOf(chunk(request, chunkType.none, true, 0, 0))]
}

export function errorChunk(request: NbdRequest, error: NbdError): Uint8Array[] {
  const fields = chunk(request, chunkType.error, true, 6, 0)
  fields.setUint32(body, nbdError[error])
  fields.setUint16(body + 4, 0)
  return [bytesOf(fields)]
}

export function dataChunk(
  request: NbdRequest,
  offset: number,
  data: readonly Uint8Array[],
  done: boolean,
): Uint8Array[] {
  const length = data.reduce((sum, part) => sum + part.length, 0)
  const fields = chunk(request, chunkType.offsetData, done, 8, length)
  setOffset(fields, body, offset)
  return [bytesOf(fields), ...data]
}

export function holeChunk(request: NbdRequest, offset: number, length: number, done: boolean): Uint8Array[] {
  const fields = chunk(request, chunkType.offsetHole, done, 12, 0)
  setOffset(fields, body, offset)
  fields.setUint32(body + 8, length)
  return [bytesOf(fields)]
}

export function blockStatusChunk(request: NbdRequest, extents: readonly DeviceExtent[]): Uint8Array[] {
  const fields = chunk(request, chunkType.blockStatus, true, 4 + 8 * extents.length, 0)
  fields.setUint32(body, allocationContextId)
  extents.forEach((extent, i) => {
    fields.setUint32(body + 4 + 8 * i, extent.length)
    fields.setUint32(
      body + 8 + 8 * i,
      extent.allocated ? allocationState.allocated : allocationState.hole | allocationState.zero,
    )
  })
  return [bytesOf(fields)]
}
