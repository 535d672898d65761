/**
 * Reads diff streams. Stricter than `rbd`, since what is wrong here is data lost elsewhere: metadata comes before data and
 * once, nothing lies outside of the image, nothing follows the end.
 */
import { type DiffRecord, type DiffVersion, diffBanners, diffTags, protectedBodyBytes } from './diff-record.ts'
import type { Decoding, StreamInput } from './stream-input.ts'

/** A stream of one diff, version 1 or 2 by its banner. */
export function* readDiff(input: StreamInput): Decoding<DiffRecord> {
  input.mark()
  const banner = yield* readBanner(input)
  const version = banner === diffBanners[1] ? 1 : banner === diffBanners[2] ? 2 : undefined
  if (version === undefined) throw input.refusal('it is not that of a diff, `rbd diff v1` or `v2`')
  yield* readRecords(input, version)
  if (yield* input.more()) throw input.refusal(`the stream goes on behind it, at byte ${input.offset}`)
}

/** A diff inside of another stream, which goes on behind it. */
export function* readInnerDiff(input: StreamInput): Decoding<DiffRecord> {
  input.mark()
  yield* expectBanner(input, diffBanners[2], 'a diff')
  yield* readRecords(input, 2)
}

/** All banners of one length, so that none needs a look ahead. */
function* readBanner(input: StreamInput): Decoding<never, string> {
  return latin1(yield* input.bytes(diffBanners[1].length, 'banner'))
}

export function* expectBanner(input: StreamInput, banner: string, what: string): Decoding<never> {
  const bytes = yield* input.bytes(banner.length, 'banner')
  if (latin1(bytes) !== banner) throw input.refusal(`the banner of ${what}, \`${banner.trim()}\`, is not there`)
}

/** Any bytes, for comparison with a banner. */
function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes)
}

/** What the records before have said. */
interface Seen {
  readonly tags: Set<string>
  sizeBytes: number | undefined
}

function* readRecords(input: StreamInput, version: DiffVersion): Decoding<DiffRecord> {
  const seen: Seen = { tags: new Set(), sizeBytes: undefined }
  for (;;) {
    input.mark()
    if (!(yield* input.more())) throw input.refusal('the stream ends before its end record')
    const tag = String.fromCharCode(yield* input.u8('tag'))
    input.begin(JSON.stringify(tag))
    if (tag === diffTags.end) {
      if (seen.sizeBytes === undefined) throw input.refusal('no record before it has told the size')
      yield { kind: 'end' }
      return
    }
    yield* readRecord(input, version, tag, seen)
  }
}

function* readRecord(input: StreamInput, version: DiffVersion, tag: string, seen: Seen): Decoding<DiffRecord> {
  const bodyBytes = version === 2 ? yield* input.u64('body length') : undefined
  const began = input.offset
  switch (tag) {
    case diffTags.data:
    case diffTags.zero:
      yield* readExtent(input, tag, bodyBytes, seen)
      break
    case diffTags.from:
    case diffTags.to:
    case diffTags.size:
    case diffTags.protected:
      if (tag === diffTags.protected && version === 1) throw input.refusal('version 1 has no such record')
      yield yield* readMetadata(input, tag, seen)
      break
    default:
      // Only version 2 says how long a record is that this reader does not know.
      if (bodyBytes === undefined) throw input.refusal('there is no record with such a tag')
      yield* input.skip(bodyBytes, 'body')
  }
  const readBytes = input.offset - began
  if (tag === diffTags.protected && bodyBytes === protectedBodyBytes) return
  if (bodyBytes !== undefined && readBytes !== bodyBytes) {
    throw input.refusal(`its body has ${readBytes} bytes, and says ${bodyBytes}`)
  }
}

type MetadataTag = (typeof diffTags)['from' | 'to' | 'size' | 'protected']

function* readMetadata(input: StreamInput, tag: MetadataTag, seen: Seen): Decoding<never, DiffRecord> {
  if (seen.tags.has('extent')) throw input.refusal('metadata comes before data')
  if (seen.tags.has(tag)) throw input.refusal('there has been such a record')
  seen.tags.add(tag)
  switch (tag) {
    case diffTags.from:
      return { kind: 'from', snapshot: yield* readSnapshot(input) }
    case diffTags.to:
      return { kind: 'to', snapshot: yield* readSnapshot(input) }
    case diffTags.size:
      seen.sizeBytes = yield* input.u64('size')
      return { kind: 'size', sizeBytes: seen.sizeBytes }
    case diffTags.protected:
      return { kind: 'protected', isProtected: (yield* input.u8('flag')) !== 0 }
  }
}

function* readSnapshot(input: StreamInput): Decoding<never, string> {
  const snapshot = yield* input.text('name of a snapshot')
  if (snapshot === '') throw input.refusal('it names no snapshot')
  return snapshot
}

function* readExtent(
  input: StreamInput,
  tag: (typeof diffTags)['data' | 'zero'],
  bodyBytes: number | undefined,
  seen: Seen,
): Decoding<DiffRecord> {
  seen.tags.add('extent')
  const offset = yield* input.u64('offset')
  const length = yield* input.u64('length')
  if (seen.sizeBytes === undefined) throw input.refusal('no record before it has told the size')
  // The sum of two integers that are exact is told to be too large even where it is not exact.
  if (offset + length > seen.sizeBytes) {
    throw input.refusal(`it ends at ${offset + length}, outside of the image of ${seen.sizeBytes} bytes`)
  }
  // Before the payload: a receiver must not act on a record that contradicts itself.
  const expectedBytes = tag === diffTags.data ? 16 + length : 16
  if (bodyBytes !== undefined && bodyBytes !== expectedBytes) {
    throw input.refusal(`its body has ${expectedBytes} bytes, and says ${bodyBytes}`)
  }
  if (tag === diffTags.zero) {
    yield { kind: 'zero', offset, length }
    return
  }
  let at = offset
  for (const piece of input.pieces(length, 'data')) {
    if (piece === undefined) {
      yield undefined
      continue
    }
    yield { kind: 'data', offset: at, data: piece }
    at += piece.length
  }
}
