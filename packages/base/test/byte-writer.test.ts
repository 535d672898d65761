import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../src/index.ts'

describe('byte writer', () => {
  it('keeps writers that are open at the same time apart, however they grow and end', () => {
    const step = fc.record({
      writer: fc.nat(3),
      what: fc.constantFrom('write', 'write', 'write', 'finish'),
      length: fc.integer({ min: 0, max: 700 }),
      capacity: fc.constantFrom(1, 16, 256, 1024, 5000),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const open = new Map<number, { writer: ByteWriter; expected: number[] }>()
        const finished: { bytes: Uint8Array; expected: number[] }[] = []
        let fill = 0
        for (const { writer: id, what, length, capacity } of steps) {
          const entry = open.get(id) ?? { writer: new ByteWriter(capacity), expected: [] }
          open.set(id, entry)
          if (what === 'finish') {
            finished.push({ bytes: entry.writer.finish(), expected: entry.expected })
            open.delete(id)
            continue
          }
          const piece = new Uint8Array(length).fill(++fill)
          entry.writer.raw(piece)
          entry.expected.push(...piece)
          expect(entry.writer.length).toBe(entry.expected.length)
        }
        for (const { bytes, expected } of finished) expect([...bytes]).toEqual(expected)
        for (const { writer, expected } of open.values()) expect([...writer.finish()]).toEqual(expected)
      }),
    )
  })

  it('patches relative to its own beginning', () => {
    new ByteWriter().u32(7).finish()
    const writer = new ByteWriter(4)
    writer.u32(0).string('some text that makes it grow beyond what it began with')
    writer.patchU32(0, 0xfeed)
    expect(new ByteReader(writer.finish()).u32()).toBe(0xfeed)
    expect(() => new ByteWriter().patchU32(0, 1)).toThrow(/patch/)
  })

  it('refuses integers that do not fit', () => {
    expect(() => new ByteWriter().u64(-1)).toThrow(/out of range: -1/)
    expect(() => new ByteWriter().u64(2 ** 53)).toThrow(/out of range/)
  })
})
