/**
 * What those who have an image open tell each other by notifies on its header object, and what they answer. Bytes:
 * docs/formats/block-image.md; rules: docs/mechanisms/image-lock.md
 */
import {
  type ByteReader,
  type ByteWriter,
  ClusterError,
  type Codec,
  decode,
  encode,
  isClusterError,
  oneOf,
  versioned,
} from '@shoal/base'

const noticeKinds = [
  'header-changed',
  'quiesce',
  'unquiesce',
  'request-lock',
  'acquired-lock',
  'released-lock',
] as const
export type NoticeKind = (typeof noticeKinds)[number]

export interface HeaderNotice {
  readonly kind: NoticeKind
  /** Of a pause: which one; empty otherwise. */
  readonly pauseId: string
  /** Of a pause: after so long it ends by itself. */
  readonly pauseMs: number
}

const noticeAnswers = [
  'done',
  /** Of a notice that a newer version sent. */
  'unknown-notice',
  /** A request for the lock: it is not mine. */
  'not-owner',
  /** It will be given back as soon as what is under way is done. */
  'releasing',
  /** It is kept: the export is exclusive. */
  'refused',
  /** It cannot be given back, since a write of mine may land yet: I must be fenced. */
  'uncertain',
  /** The pause was over before the writes under way were done. */
  'failed',
] as const
export type NoticeAnswer = (typeof noticeAnswers)[number]

const kindCodec = oneOf(noticeKinds)
const noticeCodec: Codec<HeaderNotice> = versioned<HeaderNotice>(1, 1, 'image notice', {
  write(writer: ByteWriter, { kind, pauseId, pauseMs }) {
    kindCodec.write(writer, kind)
    writer.string(pauseId).u32(pauseMs)
  },
  read: (reader: ByteReader) => ({ kind: kindCodec.read(reader), pauseId: reader.string(), pauseMs: reader.u32() }),
})
const answerCodec: Codec<NoticeAnswer> = versioned<NoticeAnswer>(
  1,
  1,
  'answer to an image notice',
  oneOf(noticeAnswers),
)

export function encodeNotice(kind: NoticeKind, pauseId = '', pauseMs = 0): Uint8Array {
  return encode(noticeCodec, { kind, pauseId, pauseMs })
}

/** Undefined for a notice that only a newer version understands. */
export function decodeNotice(data: Uint8Array): HeaderNotice | undefined {
  try {
    return decode(noticeCodec, data)
  } catch (error) {
    if (error instanceof ClusterError) return undefined
    throw error
  }
}

export function encodeAnswer(answer: NoticeAnswer): Uint8Array {
  return encode(answerCodec, answer)
}

/** What cannot be read was said by who does not understand us. */
export function decodeAnswer(data: Uint8Array): NoticeAnswer {
  try {
    return decode(answerCodec, data)
  } catch (error) {
    if (isClusterError(error)) return 'unknown-notice'
    throw error
  }
}
