/** The structures in memory against the simplest ones that mean the same. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Allocator } from '../src/allocator.ts'
import { RangeSet } from '../src/range-set.ts'
import { SortedKeys } from '../src/sorted-keys.ts'

const key = fc.string({ minLength: 1, maxLength: 2, unit: fc.constantFrom('a', 'b', 'c', 'd', 'e') })

test('sorted keys equal a sorted set', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(3000)), { maxLength: 3000 }), fc.nat(3000), (steps, from) => {
      const ours = new SortedKeys()
      const model = new Set<string>()
      for (const [add, value] of steps) {
        const name = String(value).padStart(4, '0')
        if (add && !model.has(name)) ours.add(name)
        else if (!add) ours.remove(name)
        if (add) model.add(name)
        else model.delete(name)
      }
      const low = String(from).padStart(4, '0')
      expect(ours.range(low, '2500')).toEqual([...model].filter((name) => name >= low && name < '2500').sort())
    }),
    { numRuns: 60 },
  )
})

test('a range set holds what its ranges held', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(key, key), { maxLength: 20 }), key, (ranges, probe) => {
      let set = RangeSet.empty
      for (const [from, to] of ranges) set = set.with(from, to)
      expect(set.has(probe)).toBe(ranges.some(([from, to]) => from <= probe && probe < to))
      for (const [at, span] of set.spans.entries()) {
        const next = set.spans[at + 1]
        expect(span.from < span.to && (next === undefined || span.to < next.from)).toBe(true)
      }
    }),
  )
})

test('no unit is handed out twice, none is lost', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 900 })), { maxLength: 60 }), (steps) => {
      const allocator = new Allocator(9000)
      const used = new Set<number>()
      for (const [take, count] of steps) {
        if (take) {
          const runs = allocator.allocate(count)
          expect(runs === undefined).toBe(count > 8999 - used.size)
          for (const run of runs ?? []) {
            for (let i = 0; i < run.count; i++) {
              expect(used.has(run.unit + i) || run.unit + i === 0 || run.unit + i >= 9000).toBe(false)
              used.add(run.unit + i)
            }
          }
        } else {
          for (const unit of [...used].slice(0, count)) {
            expect(allocator.dereference(unit)).toBe(true)
            allocator.release(unit)
            used.delete(unit)
          }
        }
        expect(allocator.freeUnits).toBe(8999 - used.size)
      }
    }),
    { numRuns: 60 },
  )
})

test('a shared unit outlives all but its last reference', () => {
  const allocator = new Allocator(100)
  allocator.reference(7)
  allocator.reference(7)
  expect(allocator.isShared(7)).toBe(true)
  expect(() => allocator.release(7)).toThrow(/invariant 2/)
  expect([allocator.dereference(7), allocator.dereference(7)]).toEqual([false, true])
  allocator.release(7)
  expect(() => allocator.release(7)).toThrow(/invariant 2/)
})
