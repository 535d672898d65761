/**
 * A whole image with its snapshots, `rbd export --export-format 2`: what the image is, then one diff for each snapshot from
 * the one before, then one from the last snapshot to the head. Byte table: docs/formats/rbd-streams.md.
 */
import { ByteWriter, utf8Encode } from '@shoal/base'
import { expectBanner, readInnerDiff } from './diff-reader.ts'
import type { DiffRecord } from './diff-record.ts'
import { writeDiffBanner, writeDiffRecord } from './diff-writer.ts'
import type { Decoding, StreamInput } from './stream-input.ts'

/** The records of the diffs follow `diffs`, each diff's with its `end`. */
export type ImageRecord =
  /** Objects have 2^order bytes. */
  | { readonly kind: 'order'; readonly order: number }
  /** Ceph's feature bits of the image. */
  | { readonly kind: 'features'; readonly bits: number }
  | { readonly kind: 'stripe-unit'; readonly bytes: number }
  | { readonly kind: 'stripe-count'; readonly count: number }
  | { readonly kind: 'metadata'; readonly key: string; readonly value: string }
  | { readonly kind: 'diffs'; readonly count: number }
  | DiffRecord

export const imageBanner = 'rbd image v2\n'
const diffsBanner = 'rbd image diffs v2\n'
const tags = { order: 'O', features: 'T', 'stripe-unit': 'U', 'stripe-count': 'C', metadata: 'M', end: 'E' } as const

export function* readImage(input: StreamInput): Decoding<ImageRecord> {
  input.mark()
  yield* expectBanner(input, imageBanner, 'an image with its snapshots')
  const seen = new Set<string>()
  for (;;) {
    input.mark()
    const tag = String.fromCharCode(yield* input.u8('tag'))
    input.begin(JSON.stringify(tag))
    if (tag === tags.end) break
    if (tag !== tags.metadata && seen.has(tag)) throw input.refusal('there has been such a record')
    seen.add(tag)
    yield* readHeaderRecord(input, tag)
  }
  input.mark()
  yield* expectBanner(input, diffsBanner, 'the diffs')
  const count = yield* input.u64('number of diffs')
  if (count === 0) throw input.refusal('there is no diff, not even that of the head')
  yield { kind: 'diffs', count }
  let from: string | undefined
  for (let index = 0; index < count; index++) from = yield* readChained(input, from, index + 1 === count)
  if (yield* input.more()) throw input.refusal(`the stream goes on behind it, at byte ${input.offset}`)
}

function* readHeaderRecord(input: StreamInput, tag: string): Decoding<ImageRecord> {
  const bodyBytes = yield* input.u64('body length')
  const began = input.offset
  switch (tag) {
    case tags.order: {
      const order = yield* input.u64('order')
      if (order < 12 || order > 25) throw input.refusal(`objects of 2^${order} bytes: from 4 KiB to 32 MiB`)
      yield { kind: 'order', order }
      break
    }
    case tags.features:
      yield { kind: 'features', bits: yield* input.u64('feature bits') }
      break
    case tags['stripe-unit']:
      yield { kind: 'stripe-unit', bytes: yield* input.u64('stripe unit') }
      break
    case tags['stripe-count']:
      yield { kind: 'stripe-count', count: yield* input.u64('stripe count') }
      break
    case tags.metadata: {
      const key = yield* input.text('key')
      yield { kind: 'metadata', key, value: yield* input.text('value') }
      break
    }
    default:
      yield* input.skip(bodyBytes, 'body')
  }
  const readBytes = input.offset - began
  if (readBytes !== bodyBytes) throw input.refusal(`its body has ${readBytes} bytes, and says ${bodyBytes}`)
}

/** One diff, which must begin where the one before ended. Returns where it ends. */
function* readChained(
  input: StreamInput,
  from: string | undefined,
  last: boolean,
): Decoding<DiffRecord, string | undefined> {
  let begins: string | undefined
  let ends: string | undefined
  for (const record of readInnerDiff(input)) {
    if (record?.kind === 'from') begins = record.snapshot
    if (record?.kind === 'to') ends = record.snapshot
    // Both are told before anything that a receiver could act on.
    if (record !== undefined && !isMetadata(record)) checkChain(input, begins, from, ends, last)
    yield record
  }
  return ends
}

function isMetadata({ kind }: DiffRecord): boolean {
  return kind === 'from' || kind === 'to' || kind === 'protected' || kind === 'size'
}

function checkChain(
  input: StreamInput,
  begins: string | undefined,
  from: string | undefined,
  ends: string | undefined,
  last: boolean,
): void {
  const named = (snapshot: string | undefined): string => (snapshot === undefined ? 'nothing' : `snapshot ${snapshot}`)
  if (begins !== from)
    throw input.refusal(`its diff begins with ${named(begins)}, the one before ended with ${named(from)}`)
  if (last && ends !== undefined) throw input.refusal(`the last diff ends with ${named(ends)}, not with the head`)
  if (!last && ends === undefined) throw input.refusal('a diff before the last one ends with no snapshot')
}

/** The chunks of a whole stream; the banners and the end of the header come by themselves. */
export async function* encodeImage(
  records: AsyncIterable<ImageRecord> | Iterable<ImageRecord>,
): AsyncGenerator<Uint8Array, void, void> {
  yield utf8Encode(imageBanner)
  let between = true
  for await (const record of records) {
    if (isHeader(record)) {
      yield writeHeaderRecord(record)
      continue
    }
    if (record.kind === 'diffs') {
      yield new ByteWriter().u8(tags.end.charCodeAt(0)).raw(utf8Encode(diffsBanner)).u64(record.count).finish()
      continue
    }
    if (between) yield writeDiffBanner(2)
    between = record.kind === 'end'
    yield* writeDiffRecord(2, record)
  }
}

type HeaderRecord = Exclude<ImageRecord, DiffRecord | { readonly kind: 'diffs' }>

function isHeader(record: ImageRecord): record is HeaderRecord {
  return record.kind in tags && record.kind !== 'end'
}

function writeHeaderRecord(record: HeaderRecord): Uint8Array {
  const body = new ByteWriter()
  switch (record.kind) {
    case 'order':
      body.u64(record.order)
      break
    case 'features':
      body.u64(record.bits)
      break
    case 'stripe-unit':
      body.u64(record.bytes)
      break
    case 'stripe-count':
      body.u64(record.count)
      break
    case 'metadata':
      body.string(record.key).string(record.value)
      break
  }
  return new ByteWriter().u8(tags[record.kind].charCodeAt(0)).u64(body.length).raw(body.finish()).finish()
}
