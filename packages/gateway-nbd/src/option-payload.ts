/** The payloads of options and of their replies: bytes to values and back, bounded, without state. */
import { ClusterError, utf8Decode, utf8Encode } from '@shoal/base'
import type { BlockDevice } from './block-device.ts'
import { infoType, limits, optionReplyMagic, transmissionFlag } from './protocol.ts'

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function bytesOf(data: DataView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

/** EINVAL: over 4096 bytes, or not UTF-8. */
export function decodeName(bytes: Uint8Array): string {
  if (bytes.length > limits.exportNameBytesMax) throw new ClusterError('EINVAL', 'export name over 4096 bytes')
  try {
    return utf8Decode(bytes)
  } catch (cause) {
    throw new ClusterError('EINVAL', 'export name is not UTF-8', { cause })
  }
}

export interface InfoRequest {
  readonly name: string
  readonly infos: ReadonlySet<number>
}

/** Of INFO and GO: u32 length, name, u16 count, u16 each. EINVAL. */
export function decodeInfoRequest(data: Uint8Array): InfoRequest {
  const fields = viewOf(data)
  if (data.length < 6) throw new ClusterError('EINVAL', 'option too short')
  const nameLength = fields.getUint32(0)
  if (nameLength > data.length - 6) throw new ClusterError('EINVAL', 'name longer than the option')
  const name = decodeName(data.subarray(4, 4 + nameLength))
  const count = fields.getUint16(4 + nameLength)
  if (data.length !== 6 + nameLength + 2 * count) {
    throw new ClusterError('EINVAL', 'wrong number of information requests')
  }
  const infos = new Set<number>()
  for (let i = 0; i < count; i++) infos.add(fields.getUint16(6 + nameLength + 2 * i))
  return { name, infos }
}

export interface MetaContextRequest {
  readonly name: string
  readonly queries: readonly string[]
}

/** Of LIST_META_CONTEXT and SET_META_CONTEXT: a name, u32 count, and as many queries; texts are u32 length and bytes. EINVAL. */
export function decodeMetaContextRequest(data: Uint8Array): MetaContextRequest {
  const fields = viewOf(data)
  let at = 0
  const take = (length: number): number => {
    if (length > data.length - at) throw new ClusterError('EINVAL', 'option too short')
    at += length
    return at - length
  }
  const text = (): string => {
    const length = fields.getUint32(take(4))
    const start = take(length)
    return decodeName(data.subarray(start, start + length))
  }
  const name = text()
  const count = fields.getUint32(take(4))
  if (count > limits.metaContextQueriesMax) throw new ClusterError('EINVAL', 'too many metadata context queries')
  const queries: string[] = []
  for (let i = 0; i < count; i++) queries.push(text())
  if (at !== data.length) throw new ClusterError('EINVAL', 'left-over bytes in the option')
  return { name, queries }
}

export function encodeOptionReply(code: number, type: number, body: readonly Uint8Array[]): Uint8Array[] {
  const header = viewOf(new Uint8Array(20))
  header.setBigUint64(0, optionReplyMagic)
  header.setUint32(8, code)
  header.setUint32(12, type)
  header.setUint32(
    16,
    body.reduce((sum, part) => sum + part.length, 0),
  )
  return [bytesOf(header), ...body]
}

/** A number in front of a text: the entries of LIST (the length of what follows) and of contexts (their id). */
export function numberAndText(value: number, text: Uint8Array): readonly Uint8Array[] {
  const field = viewOf(new Uint8Array(4))
  field.setUint32(0, value)
  return [bytesOf(field), text]
}

export function encodeListEntry(name: string, description: string): readonly Uint8Array[] {
  const bytes = utf8Encode(name)
  return [...numberAndText(bytes.length, bytes), utf8Encode(description)]
}

/** What INFO and GO tell, one payload each. Sizes of blocks come unasked: who knows them uses them, others skip them. */
export function encodeInfos(
  device: BlockDevice,
  name: string,
  flags: number,
  asked: ReadonlySet<number>,
): readonly (readonly Uint8Array[])[] {
  const about = (type: number, body: Uint8Array): readonly Uint8Array[] => {
    const header = viewOf(new Uint8Array(2))
    header.setUint16(0, type)
    return [bytesOf(header), body]
  }
  const sizes = viewOf(new Uint8Array(12))
  sizes.setUint32(0, 1)
  sizes.setUint32(4, device.preferredBlockBytes)
  sizes.setUint32(8, limits.payloadBytesMax)
  return [
    about(infoType.export, encodeExport(device, flags, 0)),
    ...(asked.has(infoType.name) ? [about(infoType.name, utf8Encode(name))] : []),
    ...(asked.has(infoType.description) ? [about(infoType.description, utf8Encode(device.description))] : []),
    about(infoType.blockSize, bytesOf(sizes)),
  ]
}

/** Size and transmission flags; for EXPORT_NAME 124 zero bytes follow unless the client waived them. */
export function encodeExport(device: BlockDevice, flags: number, padding: number): Uint8Array {
  const fields = viewOf(new Uint8Array(10 + padding))
  fields.setBigUint64(0, BigInt(device.sizeBytes))
  fields.setUint16(8, flags)
  return bytesOf(fields)
}

/**
 * What the client may use. Several connections are coherent because a write is durable, and seen by all of them, before
 * it is acknowledged: nothing is cached per connection.
 */
export function transmissionFlags(device: BlockDevice, structured: boolean, extended: boolean): number {
  const always =
    transmissionFlag.hasFlags |
    transmissionFlag.sendFlush |
    transmissionFlag.sendFua |
    transmissionFlag.canMultiConn |
    transmissionFlag.sendCache |
    (structured || extended ? transmissionFlag.sendDf : 0) |
    (extended ? transmissionFlag.blockStatusPayload : 0)
  return device.readOnly
    ? always | transmissionFlag.readOnly
    : always | transmissionFlag.sendTrim | transmissionFlag.sendWriteZeroes | transmissionFlag.sendFastZero
}
