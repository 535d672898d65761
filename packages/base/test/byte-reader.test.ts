import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../src/index.ts'

/** The input begins in the middle of a larger buffer, as a message does in a received chunk. */
function inside(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(bytes.length + 14).fill(0xee)
  whole.set(bytes, 7)
  return whole.subarray(7, 7 + bytes.length)
}

describe('byte reader', () => {
  it('reads every number that a writer writes', () => {
    const numbers = fc.record({
      u8: fc.nat(0xff),
      u16: fc.nat(0xffff),
      u32: fc.nat(0xffff_ffff),
      i32: fc.integer(),
      u64: fc.maxSafeNat(),
      f64: fc.double(),
      big64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    })
    fc.assert(
      fc.property(numbers, ({ u8, u16, u32, i32, u64, f64, big64 }) => {
        const writer = new ByteWriter().u8(u8).u16(u16).u32(u32).i32(i32).u64(u64).f64(f64).big64(big64)
        const reader = new ByteReader(inside(writer.finish()))
        expect(reader.u8()).toBe(u8)
        expect(reader.u16()).toBe(u16)
        expect(reader.u32()).toBe(u32)
        expect(reader.i32()).toBe(i32)
        expect(reader.u64()).toBe(u64)
        expect(reader.f64()).toBe(f64)
        expect(reader.big64()).toBe(big64)
        reader.end()
      }),
    )
  })

  it('reads every text, however often and in whatever order', () => {
    const text = fc.oneof(fc.string({ maxLength: 80 }), fc.string({ unit: 'grapheme', maxLength: 80 }))
    fc.assert(
      fc.property(fc.array(text, { maxLength: 40 }), (texts) => {
        const writer = new ByteWriter()
        for (const one of [...texts, ...texts]) writer.string(one)
        const reader = new ByteReader(inside(writer.finish()))
        for (const one of [...texts, ...texts]) expect(reader.string()).toBe(one)
        reader.end()
      }),
    )
  })

  it('refuses text that is not UTF-8', () => {
    const reader = new ByteReader(new Uint8Array([2, 0, 0, 0, 0xc3, 0x28]))
    expect(() => reader.string()).toThrow(expect.objectContaining({ code: 'EBADMSG' }))
  })

  it('ends at the end of a section, whatever follows it, and skips what of it was not read', () => {
    const writer = new ByteWriter().u32(1).u32(2).u32(3)
    const reader = new ByteReader(inside(writer.finish()))
    const outer = reader.enter(8)
    expect(reader.u32()).toBe(1)
    expect(reader.remaining).toBe(4)
    expect(() => reader.u64()).toThrow(expect.objectContaining({ code: 'EBADMSG' }))
    reader.leave(outer)
    expect(reader.u32()).toBe(3)
    reader.end()
  })

  it('refuses a section that is longer than what is left, and one within another that is longer than that', () => {
    const reader = new ByteReader(new Uint8Array(16))
    expect(() => reader.enter(17)).toThrow(expect.objectContaining({ code: 'EBADMSG' }))
    reader.enter(8)
    expect(() => reader.enter(9)).toThrow(expect.objectContaining({ code: 'EBADMSG' }))
  })
})
