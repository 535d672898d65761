/** The format, pinned, and what a reader makes of any cut and any damage. */
import { concatBytes, entityName, hexDecode, hexEncode, Prng, utf8Encode } from '@shoal/base'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { encodeFrame, FrameReader, loadFrameChecksum, type NumberedFrame, type OutgoingFrame } from '../src/frame.ts'
import { decodeHello, encodeHello, type Hello } from '../src/hello.ts'
import { defaultLimits } from '../src/limits.ts'

beforeAll(loadFrameChecksum)

const hello: Hello = {
  protocol: 1,
  fsid: 'f',
  name: entityName('osd', 3),
  nonce: 0x1_0000_0002,
  kind: 'peer',
  stream: 5,
  attempt: 6,
  featuresSupported: 7,
  featuresRequired: 3,
  authentications: ['secret', 'none'],
  encryptions: ['secure', 'crc'],
  challenge: Uint8Array.of(0xc1, 0xc2),
  lastSequence: 9,
}

const frame: OutgoingFrame = {
  type: 0x20,
  tid: 0x1_0000_0003,
  traceId: 4,
  header: utf8Encode('head'),
  payload: [utf8Encode('pay'), utf8Encode('load')],
}

const goldenFrame =
  '53484c31200000000400000007000000010000000200000003000000010000000400000000000000025077595c2c2273' +
  '686561647061796c6f6164'
const goldenHello =
  '53484c4f5d000000c77bac4602015700000001000100000066050000006f73642e330200000001000000010500000000' +
  '000000060000000000000007000000000000000300000000000000000000000900000000000000020000000100020000' +
  '00010002000000c1c2'
/** Version 3, readable for version 1: words that we do not know first in both lists, and two bytes more at the end. */
const goldenLaterHello =
  '53484c4f610000003e92c62b03015b00000001000100000066050000006f73642e330200000001000000010500000000' +
  '000000060000000000000007000000000000000300000000000000000000000900000000000000030000000901000300' +
  '000007010002000000c1c2aabb'

function readAll(reader: FrameReader): readonly NumberedFrame[] {
  const frames: NumberedFrame[] = []
  for (let next = reader.next(); next !== undefined; next = reader.next()) frames.push(next)
  return frames
}

describe('golden bytes', () => {
  test('a frame', () => {
    const chunks = encodeFrame(frame, 0x2_0000_0001)
    expect(hexEncode(concatBytes(chunks))).toBe(goldenFrame)
    expect(chunks.slice(1)).toEqual(frame.payload)
    expect(chunks[1]).toBe(frame.payload[0])
  })

  test('a frame in a sealed record: the same with no checksums', () => {
    const sealed = concatBytes(encodeFrame(frame, 0x2_0000_0001, 'sealed'))
    expect(hexEncode(sealed)).toBe(goldenFrame.replace('025077595c2c2273', '0000000000000000'))
    const reader = new FrameReader(defaultLimits, 'sealed')
    reader.push(hexDecode(goldenFrame) as Uint8Array)
    expect(() => reader.next()).toThrow('checksums in a sealed frame')
  })

  test('a hello', () => {
    expect(hexEncode(encodeHello(hello))).toBe(goldenHello)
    expect(decodeHello(concatBytes([encodeHello(hello), utf8Encode('rest')]))).toEqual({
      hello,
      rest: utf8Encode('rest'),
    })
  })

  test('a hello of a later version, with choices and a field more, is understood', () => {
    const longer = hexDecode(goldenLaterHello) as Uint8Array
    expect(decodeHello(longer)?.hello).toEqual(hello)
  })
})

const frames = fc.array(
  fc.record({
    type: fc.nat({ max: 0xffff }),
    tid: fc.maxSafeNat(),
    traceId: fc.maxSafeNat(),
    header: fc.uint8Array({ maxLength: 100 }),
    payload: fc.array(fc.uint8Array({ maxLength: 5000 }), { maxLength: 4 }),
  }),
  { minLength: 1, maxLength: 8 },
)

describe('a reader', () => {
  test('gives what was sent, wherever the bytes are cut', () => {
    fc.assert(
      fc.property(frames, fc.nat(), fc.constantFrom(1, 3, 60, 3000, 100_000), (sent, seed, chunkMax) => {
        const bytes = concatBytes(sent.flatMap((each, i) => encodeFrame(each, i + 1)))
        const random = new Prng(seed)
        const reader = new FrameReader(defaultLimits)
        const received: NumberedFrame[] = []
        for (let at = 0; at < bytes.length; ) {
          const length = 1 + random.below(chunkMax)
          reader.push(bytes.slice(at, at + length))
          at += length
          received.push(...readAll(reader))
        }
        expect(received).toEqual(
          sent.map((each, i) => ({ ...each, payload: new Uint8Array(concatBytes(each.payload)), sequence: i + 1 })),
        )
        expect(reader.bufferedBytes).toBe(0)
      }),
      { numRuns: 60 },
    )
  })

  test('never gives a frame that differs from what was sent, whatever bit flips', () => {
    const bytes = concatBytes([1, 2, 3].flatMap((sequence) => encodeFrame(frame, sequence)))
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice()
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
      const reader = new FrameReader(defaultLimits)
      reader.push(damaged)
      let given = 0
      let refused = false
      try {
        for (let next = reader.next(); next !== undefined; next = reader.next()) {
          expect(next).toMatchObject({ sequence: ++given, tid: frame.tid, type: frame.type, traceId: frame.traceId })
          expect(next.payload).toEqual(utf8Encode('payload'))
        }
      } catch (error) {
        expect(error).toMatchObject({ code: 'EBADMSG' })
        refused = true
      }
      expect(given).toBeLessThan(3)
      // A length that grew makes it wait for bytes that never come; everything else it refuses.
      if (!refused) expect(reader.bufferedBytes).toBeGreaterThan(0)
    }
  })

  test('refuses lengths over its limits before the bytes come', () => {
    const reader = new FrameReader({ headerBytesMax: 3, payloadBytesMax: 100 })
    reader.push((encodeFrame(frame, 1)[0] as Uint8Array).slice(0, 48))
    expect(() => reader.next()).toThrow('over the limit')
  })

  test('refuses any noise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 48, maxLength: 300 }), (noise) => {
        const reader = new FrameReader(defaultLimits)
        reader.push(noise)
        expect(() => reader.next()).toThrow('bytes that are no frame')
      }),
    )
  })
})

test('a damaged hello is refused, or waits for more until its limit', () => {
  const bytes = encodeHello(hello)
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice()
    damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
    let decoded: unknown
    try {
      decoded = decodeHello(damaged)
    } catch (error) {
      expect(error).toMatchObject({ code: 'EBADMSG' })
    }
    expect(decoded).toBeUndefined()
  }
})
