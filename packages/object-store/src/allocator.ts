/**
 * Which units of the data file are in use, in memory: a bitmap rebuilt at mount from the block maps, which are the one
 * durable truth about it (there is no second copy that could disagree).
 *
 * Invariants
 * 1. A unit is handed out only while its bit is clear, and the bit is set before it is handed out.
 * 2. A bit is cleared only by `release`, for units without a reference; the caller holds a freed unit back until the
 *    checkpoint that covers the freeing transaction is durable (docs/mechanisms/object-store.md lists why).
 * 3. `extra` counts the references beyond the first; a unit without an entry has one reference or none.
 */
import { assert } from '@shoal/base'

export interface UnitRun {
  readonly unit: number
  readonly count: number
}

const groupUnits = 4096
const groupWords = groupUnits / 32
const contiguousMin = 16
const searchWordsMax = 1 << 16

export class Allocator {
  readonly unitCount: number
  private readonly words: Int32Array
  private readonly groupFree: Uint16Array
  /** No group below this one has a free unit. */
  private firstGroup = 0
  private readonly extra = new Map<number, number>()
  freeUnits: number

  /** Units 1 to `unitCount - 1` can be allocated. */
  constructor(unitCount: number) {
    this.unitCount = unitCount
    const groups = Math.ceil(unitCount / groupUnits)
    this.words = new Int32Array(groups * groupWords)
    this.groupFree = new Uint16Array(groups).fill(groupUnits)
    this.freeUnits = groups * groupUnits
    this.setUsed(0)
    for (let unit = unitCount; unit < groups * groupUnits; unit++) this.setUsed(unit)
  }

  isUsed(unit: number): boolean {
    return ((this.words[unit >>> 5] as number) & (1 << (unit & 31))) !== 0
  }

  references(unit: number): number {
    return this.isUsed(unit) ? 1 + (this.extra.get(unit) ?? 0) : 0
  }

  isShared(unit: number): boolean {
    return this.extra.size > 0 && this.extra.has(unit)
  }

  get sharedUnits(): number {
    return this.extra.size
  }

  /** One more reference, at mount or by a clone. The first one marks the unit as used. */
  reference(unit: number): void {
    assert(unit > 0 && unit < this.unitCount, `unit ${unit} lies in the data file`)
    if (this.isUsed(unit)) this.extra.set(unit, (this.extra.get(unit) ?? 0) + 1)
    else this.setUsed(unit)
  }

  /** Drops a reference; true when it was the last one. The bit stays set until `release`. */
  dereference(unit: number): boolean {
    assert(this.isUsed(unit), `unit ${unit} is in use (invariant 1)`)
    const extra = this.extra.get(unit)
    if (extra === undefined) return true
    if (extra === 1) this.extra.delete(unit)
    else this.extra.set(unit, extra - 1)
    return false
  }

  release(unit: number): void {
    assert(this.isUsed(unit) && !this.extra.has(unit), `unit ${unit} is in use once (invariant 2)`)
    this.words[unit >>> 5] = (this.words[unit >>> 5] as number) & ~(1 << (unit & 31))
    const group = Math.floor(unit / groupUnits)
    this.groupFree[group] = (this.groupFree[group] as number) + 1
    this.freeUnits++
    if (group < this.firstGroup) this.firstGroup = group
  }

  /** Runs of `count` units together, in one piece where that is easy; undefined when there is not enough room. */
  allocate(count: number): UnitRun[] | undefined {
    if (count > this.freeUnits) return undefined
    if (count >= contiguousMin) {
      const unit = this.findRun(count)
      if (unit !== undefined) {
        for (let i = 0; i < count; i++) this.setUsed(unit + i)
        return [{ unit, count }]
      }
    }
    return this.collect(count)
  }

  private collect(count: number): UnitRun[] {
    const runs: UnitRun[] = []
    let left = count
    let start = 0
    let length = 0
    for (let group = this.firstGroup; left > 0; group++) {
      assert(group < this.groupFree.length, 'the free count matches the bitmap')
      if (this.groupFree[group] === 0) {
        if (group === this.firstGroup) this.firstGroup++
        continue
      }
      for (let unit = group * groupUnits; unit < (group + 1) * groupUnits && left > 0; unit++) {
        if ((unit & 31) === 0 && this.words[unit >>> 5] === -1) {
          unit += 31
          continue
        }
        if (this.isUsed(unit)) continue
        if (length > 0 && unit !== start + length) {
          runs.push({ unit: start, count: length })
          length = 0
        }
        if (length === 0) start = unit
        length++
        left--
        this.setUsed(unit)
      }
    }
    if (length > 0) runs.push({ unit: start, count: length })
    return runs
  }

  private findRun(count: number): number | undefined {
    let length = 0
    const first = this.firstGroup * groupWords
    const end = Math.min(this.words.length, first + searchWordsMax)
    for (let at = first; at < end; at++) {
      if (at % groupWords === 0 && this.groupFree[at / groupWords] === 0) {
        length = 0
        at += groupWords - 1
        continue
      }
      const word = this.words[at] as number
      if (word === -1) {
        length = 0
      } else if (word === 0) {
        length += 32
        if (length >= count) return (at + 1) * 32 - length
      } else {
        for (let bit = 0; bit < 32; bit++) {
          length = (word & (1 << bit)) === 0 ? length + 1 : 0
          if (length >= count) return at * 32 + bit + 1 - length
        }
      }
    }
    return undefined
  }

  private setUsed(unit: number): void {
    const at = unit >>> 5
    const bit = 1 << (unit & 31)
    const word = this.words[at] as number
    assert((word & bit) === 0, `unit ${unit} is free (invariant 1)`)
    this.words[at] = word | bit
    const group = Math.floor(unit / groupUnits)
    this.groupFree[group] = (this.groupFree[group] as number) - 1
    this.freeUnits--
  }
}
