/** Writes diff streams: the bytes of each record, payload by reference. */
import { assert, ByteWriter, utf8Encode } from '@shoal/base'
import { type DiffRecord, type DiffVersion, diffBanners, diffTags, protectedBodyBytes } from './diff-record.ts'

export function writeDiffBanner(version: DiffVersion): Uint8Array {
  return utf8Encode(diffBanners[version])
}

/** The chunks of one record. */
export function writeDiffRecord(version: DiffVersion, record: DiffRecord): readonly Uint8Array[] {
  assert(version === 2 || record.kind !== 'protected', 'version 1 says nothing of protection')
  const writer = new ByteWriter().u8(diffTags[record.kind].charCodeAt(0))
  if (record.kind === 'end') return [writer.finish()]
  const body = new ByteWriter()
  switch (record.kind) {
    case 'from':
    case 'to':
      body.string(record.snapshot)
      break
    case 'protected':
      body.boolean(record.isProtected)
      break
    case 'size':
      body.u64(record.sizeBytes)
      break
    case 'zero':
      body.u64(record.offset).u64(record.length)
      break
    case 'data':
      body.u64(record.offset).u64(record.data.length)
      break
  }
  const payload = record.kind === 'data' ? [record.data] : []
  const payloadBytes = payload[0]?.length ?? 0
  if (version === 2) writer.u64(record.kind === 'protected' ? protectedBodyBytes : body.length + payloadBytes)
  return [writer.raw(body.finish()).finish(), ...payload]
}

/** A whole stream, banner included. */
export async function* encodeDiff(
  version: DiffVersion,
  records: AsyncIterable<DiffRecord> | Iterable<DiffRecord>,
): AsyncGenerator<Uint8Array, void, void> {
  yield writeDiffBanner(version)
  for await (const record of records) yield* writeDiffRecord(version, record)
}
