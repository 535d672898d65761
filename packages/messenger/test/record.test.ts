/** Sealed records: what was sealed, in its place, or nothing. */
import { concatBytes, hexEncode, Prng, utf8Encode } from '@shoal/base'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { defaultKeyUse, type KeyUse, RecordOpener, RecordSealer, recordBytesMax } from '../src/record.ts'

const secret = Uint8Array.from({ length: 32 }, (_, i) => i)
/** Checked against plain calls of AES-256-GCM and HKDF. */
const golden = '0800000092056955b8e7ed065e8b2fba0e05d5a7051081bf238783b1'

function seal(sealer: RecordSealer, ...chunks: readonly Uint8Array[]): Uint8Array {
  sealer.add(chunks)
  return concatBytes(sealer.seal()).slice()
}

function open(opener: RecordOpener, bytes: Uint8Array): Uint8Array {
  opener.push(bytes)
  const opened: Uint8Array[] = []
  for (let next = opener.next(); next !== undefined; next = opener.next()) opened.push(next)
  return new Uint8Array(concatBytes(opened))
}

const sealer = (use: KeyUse = defaultKeyUse): RecordSealer => new RecordSealer(secret, use)
const opener = (use: KeyUse = defaultKeyUse): RecordOpener => new RecordOpener(secret, use)

test('golden bytes', () => {
  expect(hexEncode(seal(sealer(), utf8Encode('pay'), utf8Encode('load!')))).toBe(golden)
})

test('what was sealed is opened, wherever chunks and bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.nat({ max: 90_000 }), { maxLength: 4 }), { minLength: 1, maxLength: 6 }),
      fc.nat(),
      fc.constantFrom(3, 1000, 40_000, 200_000),
      (turns, seed, cutMax) => {
        const random = new Prng(seed)
        const [from, to] = [sealer(), opener()]
        const sent: Uint8Array[] = []
        const bytes = concatBytes(
          turns.map((sizes) => {
            const chunks = sizes.map((size) => random.bytes(size))
            sent.push(...chunks)
            return seal(from, ...chunks)
          }),
        )
        const received: Uint8Array[] = []
        for (let at = 0; at < bytes.length; ) {
          const length = 1 + random.below(cutMax)
          received.push(open(to, bytes.slice(at, at + length)))
          at += length
        }
        expect(Buffer.compare(concatBytes(received), concatBytes(sent))).toBe(0)
        expect([to.bufferedBytes, from.pendingBytes]).toEqual([0, 0])
      },
    ),
    { numRuns: 30 },
  )
})

test('what does not fit into one record goes on in the next', () => {
  const sealed = seal(sealer(), new Uint8Array(recordBytesMax * 2 + 5))
  expect(sealed.length).toBe(recordBytesMax * 2 + 5 + 3 * 20)
})

describe('never opened', () => {
  test('whatever bit flips', () => {
    const bytes = seal(sealer(), utf8Encode('a few bytes'))
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice()
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
      const to = opener()
      let opened = 0
      try {
        opened = open(to, damaged).length
        // A length that grew waits, for one record at most.
        expect(to.bufferedBytes).toBe(bytes.length)
      } catch (error) {
        expect(error).toMatchObject({ code: 'EBADMSG' })
      }
      expect(opened).toBe(0)
    }
  })

  test('again, out of order, with one missing, or by the other direction', () => {
    const from = sealer()
    const [a, b, c] = ['a', 'b', 'c'].map((text) => seal(from, utf8Encode(text))) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ]
    for (const order of [[a, a], [b], [a, c], [a, b, a]]) {
      const to = opener()
      expect(() => order.forEach((record) => open(to, record))).toThrow('a record that the other side did not seal')
    }
    const other = new RecordOpener(secret.slice().reverse(), defaultKeyUse)
    expect(() => open(other, a)).toThrow('a record that the other side did not seal')
  })

  test.each([0, recordBytesMax + 1, 0xffff_ffff])('a record of %i bytes', (sizeBytes) => {
    const head = new Uint8Array(4)
    new DataView(head.buffer).setUint32(0, sizeBytes, true)
    expect(() => open(opener(), head)).toThrow(`a sealed record of ${sizeBytes} bytes`)
  })
})

describe('a key', () => {
  test.each([
    { recordsPerKey: 3, bytesPerKey: 2 ** 36 },
    { recordsPerKey: 1, bytesPerKey: 2 ** 36 },
    { recordsPerKey: 2 ** 24, bytesPerKey: 10 },
  ])('is replaced on both sides after the same record: %o', (use) => {
    const [from, to] = [sealer(use), opener(use)]
    const sealed = new Set<string>()
    for (let i = 0; i < 50; i++) {
      const record = seal(from, utf8Encode('same'))
      sealed.add(hexEncode(record))
      expect(open(to, record)).toEqual(utf8Encode('same'))
    }
    // No two were sealed with the same key and nonce: else they would be equal.
    expect(sealed.size).toBe(50)
  })

  test('of a side that counts otherwise opens nothing', () => {
    const [from, to] = [sealer({ recordsPerKey: 3, bytesPerKey: 100 }), opener()]
    for (let i = 0; i < 3; i++) open(to, seal(from, utf8Encode('same')))
    expect(() => open(to, seal(from, utf8Encode('same')))).toThrow('a record that the other side did not seal')
  })

  test('never seals as many records as there are nonces', () => {
    expect(() => sealer({ recordsPerKey: 2 ** 32, bytesPerKey: 1 })).toThrow('nonces last')
  })
})
