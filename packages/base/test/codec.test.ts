import {
  array,
  ByteReader,
  ByteWriter,
  bytes,
  type Codec,
  decode,
  encode,
  map,
  oneOf,
  optional,
  string,
  struct,
  u16,
  u32,
  u64,
  versioned,
} from '@shoal/base'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

interface Sample {
  readonly id: number
  readonly size: number
  readonly name: string
  readonly tag: string | undefined
  readonly parts: readonly Uint8Array[]
  readonly ports: ReadonlyMap<string, number>
  readonly mode: 'read' | 'write'
}

const sample: Codec<Sample> = struct<Sample>({
  id: u32(),
  size: u64(),
  name: string(),
  tag: optional(string()),
  parts: array(bytes()),
  ports: map(string(), u16()),
  mode: oneOf(['read', 'write']),
})

const samples = fc.record({
  id: fc.nat(0xffff_ffff),
  size: fc.maxSafeNat(),
  name: fc.string({ unit: 'grapheme' }),
  tag: fc.option(fc.string({ unit: 'binary' }), { nil: undefined }),
  parts: fc.array(fc.uint8Array()),
  ports: fc.array(fc.tuple(fc.string(), fc.nat(65535))).map((entries) => new Map(entries)),
  mode: fc.constantFrom('read' as const, 'write' as const),
})

describe('codecs', () => {
  test('what is written is read again', () => {
    fc.assert(
      fc.property(samples, (value) => {
        expect(decode(sample, encode(sample, value))).toEqual(value)
      }),
    )
  })

  test('every truncation of a message is refused with EBADMSG', () => {
    fc.assert(
      fc.property(samples, fc.nat(), (value, cut) => {
        const whole = encode(sample, value)
        expect(() => decode(sample, whole.subarray(0, cut % whole.length))).toThrow(
          expect.objectContaining({ code: 'EBADMSG' }),
        )
      }),
    )
  })

  test('random bytes never throw anything but a ClusterError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        try {
          decode(sample, noise)
        } catch (error) {
          expect(error).toMatchObject({ name: 'ClusterError', code: 'EBADMSG' })
        }
      }),
    )
  })

  test('a count that the input cannot back is refused before anything is allocated', () => {
    const reader = new ByteReader(new ByteWriter().u32(0xffff_ffff).finish())
    expect(() => array(u32()).read(reader)).toThrow(/count 4294967295/)
  })
})

describe('versioned', () => {
  const old = versioned<{ a: number }>(1, 1, 'thing', { write: (w, v) => w.u32(v.a), read: (r) => ({ a: r.u32() }) })
  const current = versioned<{ a: number; b: number }>(2, 1, 'thing', {
    write: (w, v) => w.u32(v.a).u32(v.b),
    read: (r, version) => ({ a: r.u32(), b: version >= 2 ? r.u32() : 7 }),
  })
  const breaking = versioned<{ a: number }>(3, 3, 'thing', {
    write: (w, v) => w.u32(v.a),
    read: (r) => ({ a: r.u32() }),
  })

  test('an older reader skips what a newer writer appended', () => {
    expect(decode(old, encode(current, { a: 1, b: 2 }))).toEqual({ a: 1 })
  })

  test('a newer reader fills in what an older writer did not know', () => {
    expect(decode(current, encode(old, { a: 1 }))).toEqual({ a: 1, b: 7 })
  })

  test('a reader that is too old says so', () => {
    expect(() => decode(current, encode(breaking, { a: 1 }))).toThrow(expect.objectContaining({ code: 'EPROTO' }))
  })
})
