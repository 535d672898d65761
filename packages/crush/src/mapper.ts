/**
 * CRUSH itself: from a rule and an input to an ordered set of devices. A {@link CrushMapper} is made once per map and
 * keeps it in flat typed arrays; `map` allocates nothing but its result.
 *
 * Invariants
 * 1. The answer is Ceph's, bit for bit, whatever the map: see docs/mechanisms/crush.md for the few inputs on which
 *    Ceph itself has no answer.
 * 2. The answer depends on the map and the arguments alone; nothing is carried from one call to the next.
 * 3. Every call ends: the map has no loops (checked) and the attempts of one call are bounded, so that a map with
 *    billions of tries cannot hang a daemon. A place that is not filled by then stays empty.
 *
 * Source: Weil et al., "CRUSH: Controlled, Scalable, Decentralized Placement of Replicated Data" (SC 2006), and Ceph's
 * later additions (straw2, indep, stable, choose_args).
 */

import { BucketChooser, type CompiledChooseArgs } from './bucket-chooser.ts'
import { checkCrushMap } from './check.ts'
import { hash2 } from './rjenkins.ts'
import { type CrushMap, type CrushRule, crushItemNone, defaultChooseArgs, stepOp } from './types.ts'

const itemUndefined = 0x7fff_fffe
/** Attempts to fill places in one call. Real rules need tens. */
const attemptsMax = 1 << 20

/** What stays the same while one rule step fills its places. */
interface Frame {
  x: number
  type: number
  tries: number
  leafTries: number
  localTries: number
  fallbackTries: number
  varyR: number
  stable: number
  toLeaf: boolean
}

export class CrushMapper {
  private readonly rules: readonly (CrushRule | undefined)[]
  private readonly maxDevices: number
  private readonly bucketCount: number
  private readonly tunables: CrushMap['tunables']
  private readonly chooser: BucketChooser
  private readonly frame: Frame = {
    x: 0,
    type: 0,
    tries: 0,
    leafTries: 0,
    localTries: 0,
    fallbackTries: 0,
    varyR: 0,
    stable: 0,
    toLeaf: false,
  }
  private weights: ArrayLike<number> = []
  private chooseArgs: CompiledChooseArgs | undefined
  private attemptsLeft = 0
  private work: Int32Array = new Int32Array(16)
  private next: Int32Array = new Int32Array(16)
  private leaves: Int32Array = new Int32Array(16)
  private result: Int32Array = new Int32Array(16)
  /** Entry `t` counts the places that were filled at retry `t`; see {@link startProfile}. */
  private profile: Float64Array | undefined

  /** Throws EINVAL if the map is not one that CRUSH can walk (see `checkCrushMap`). */
  constructor(map: CrushMap) {
    checkCrushMap(map)
    this.rules = map.rules
    this.maxDevices = map.maxDevices
    this.bucketCount = map.buckets.length
    this.tunables = map.tunables
    this.chooser = new BucketChooser(map)
  }

  /**
   * The devices for input `x` (32 bits) under a rule.
   *
   * @param numRep how many are wanted; a `firstn` rule may return fewer, an `indep` rule leaves holes of
   *   {@link crushItemNone}. No rule of that id: none.
   * @param weights by device id, the 16.16 reweight: 0x10000 is in, 0 is out; devices past its end are out.
   * @param chooseArgsId whose choose_args apply (a pool id); if it has none, those of {@link defaultChooseArgs}.
   */
  map(
    ruleId: number,
    x: number,
    numRep: number,
    weights: ArrayLike<number>,
    chooseArgsId: number = defaultChooseArgs,
  ): number[] {
    const length = this.run(ruleId, x, numRep, weights, chooseArgsId)
    const result: number[] = []
    for (let i = 0; i < length; i++) result.push(this.result[i] as number)
    return result
  }

  /** Counts retries from now on, as `crushtool --show-choose-tries` does. */
  startProfile(): void {
    this.profile = new Float64Array(Math.min(this.tunables.chooseTotalTries, 1 << 16) + 1)
  }

  /** The counts by number of retries; the last possible number is not among them, as in crushtool. */
  takeProfile(): number[] {
    const counts = this.profile === undefined ? [] : Array.from(this.profile.subarray(0, -1))
    this.profile = undefined
    return counts
  }

  private run(ruleId: number, x: number, numRep: number, weights: ArrayLike<number>, chooseArgsId: number): number {
    const rule = this.rules[ruleId]
    if (rule === undefined || numRep <= 0) return 0
    this.reserve(numRep)
    this.weights = weights
    this.chooseArgs = this.chooser.chooseArgs(chooseArgsId)
    this.attemptsLeft = attemptsMax
    this.chooser.begin()
    const { tunables, frame } = this
    frame.x = x | 0
    // Ceph's tunable counts retries, not tries.
    let chooseTries = (tunables.chooseTotalTries + 1) >>> 0
    let leafTries = 0
    frame.localTries = tunables.chooseLocalTries
    frame.fallbackTries = tunables.chooseLocalFallbackTries
    frame.varyR = tunables.chooseleafVaryR
    frame.stable = tunables.chooseleafStable

    let workSize = 0
    let resultSize = 0
    for (const { op, arg1, arg2 } of rule.steps) {
      switch (op) {
        case stepOp.take:
          if (this.exists(arg1)) {
            this.work[0] = arg1
            workSize = 1
          }
          break
        case stepOp.setChooseTries:
          if (arg1 > 0) chooseTries = arg1
          break
        case stepOp.setChooseleafTries:
          if (arg1 > 0) leafTries = arg1
          break
        case stepOp.setChooseLocalTries:
          if (arg1 >= 0) frame.localTries = arg1
          break
        case stepOp.setChooseLocalFallbackTries:
          if (arg1 >= 0) frame.fallbackTries = arg1
          break
        case stepOp.setChooseleafVaryR:
          if (arg1 >= 0) frame.varyR = arg1
          break
        case stepOp.setChooseleafStable:
          if (arg1 >= 0) frame.stable = arg1
          break
        case stepOp.chooseFirstn:
        case stepOp.chooseleafFirstn:
          frame.toLeaf = op === stepOp.chooseleafFirstn
          frame.type = arg2
          frame.tries = chooseTries
          frame.leafTries = leafTries !== 0 ? leafTries : tunables.chooseleafDescendOnce !== 0 ? 1 : chooseTries
          if (workSize > 0) workSize = this.choose(workSize, arg1, numRep, true)
          break
        case stepOp.chooseIndep:
        case stepOp.chooseleafIndep:
          frame.toLeaf = op === stepOp.chooseleafIndep
          frame.type = arg2
          frame.tries = chooseTries
          frame.leafTries = leafTries !== 0 ? leafTries : 1
          if (workSize > 0) workSize = this.choose(workSize, arg1, numRep, false)
          break
        case stepOp.emit:
          resultSize = this.emit(workSize, resultSize, numRep)
          workSize = 0
          break
      }
    }
    return resultSize
  }

  /** Appends the working items to the result while it has room; its new size. */
  private emit(workSize: number, resultSize: number, numRep: number): number {
    const count = Math.min(workSize, numRep - resultSize)
    for (let i = 0; i < count; i++) this.result[resultSize + i] = this.work[i] as number
    return resultSize + count
  }

  private reserve(numRep: number): void {
    if (this.work.length >= numRep) return
    this.work = new Int32Array(numRep)
    this.next = new Int32Array(numRep)
    this.leaves = new Int32Array(numRep)
    this.result = new Int32Array(numRep)
  }

  private exists(item: number): boolean {
    return item >= 0 ? item < this.maxDevices : this.chooser.has(-1 - item)
  }

  /** One choose step: from every item of `work` choose `wanted` more; the new size of `work`. */
  private choose(workSize: number, wanted: number, numRep: number, firstn: boolean): number {
    const numrep = wanted > 0 ? wanted : wanted + numRep
    const { type, tries, toLeaf } = this.frame
    if (numrep <= 0) workSize = 0
    let size = 0
    for (let i = 0; i < workSize; i++) {
      const index = -1 - (this.work[i] as number)
      if (index < 0 || index >= this.bucketCount) continue
      const room = numRep - size
      if (firstn) {
        size += this.chooseFirstn(index, numrep, type, this.next, size, 0, room, tries, toLeaf, 0)
      } else {
        const places = Math.min(numrep, room)
        this.chooseIndep(index, places, numrep, type, this.next, size, 0, tries, toLeaf, 0)
        size += places
      }
    }
    if (toLeaf) this.next.set(this.leaves.subarray(0, size))
    const work = this.work
    this.work = this.next
    this.next = work
    return size
  }

  private isOut(item: number, x: number): boolean {
    if (item < 0 || item >= this.weights.length) return true
    const weight = this.weights[item] as number
    if (weight >= 0x1_0000) return false
    if (weight === 0) return true
    return (hash2(x, item) & 0xffff) >= weight
  }

  private countTries(retries: number): void {
    if (this.profile !== undefined && retries < this.profile.length) {
      this.profile[retries] = (this.profile[retries] as number) + 1
    }
  }

  /**
   * Depth first, place by place: a place that cannot be filled is left out, so that later ones move up.
   * Fills `out` from `base + placed` on while there is room, and returns how many are placed then.
   */
  private chooseFirstn(
    bucket: number,
    numrep: number,
    type: number,
    out: Int32Array,
    base: number,
    placed: number,
    room: number,
    tries: number,
    toLeaf: boolean,
    parentR: number,
  ): number {
    const { chooser, frame, maxDevices } = this
    const { x, localTries, fallbackTries } = frame
    for (let rep = frame.stable !== 0 ? 0 : placed; rep < numrep && room > 0; rep++) {
      let retries = 0
      let item = 0
      let filled = false
      let descend = true
      while (descend) {
        descend = false
        let inside = bucket
        let localRetries = 0
        for (;;) {
          let collides = false
          let rejected = false
          const size = chooser.size(inside)
          if (size === 0) {
            rejected = true
          } else {
            const r = (rep + parentR + retries) | 0
            item =
              fallbackTries > 0 && localRetries >= size >> 1 && localRetries > fallbackTries
                ? chooser.permutation(inside, x, r)
                : chooser.choose(inside, x, r, this.chooseArgs, placed)
            if (item >= maxDevices) break
            const itemType = item < 0 ? chooser.type(-1 - item) : 0
            if (itemType !== type) {
              if (item >= 0 || !chooser.has(-1 - item)) break
              inside = -1 - item
              continue
            }
            collides = contains(out, base, base + placed, item)
            if (!collides && toLeaf) rejected = !this.leafFirstn(item, r, base, placed, room)
            if (!rejected && !collides && type === 0) rejected = this.isOut(item, x)
          }
          if (!rejected && !collides) {
            filled = true
            break
          }
          retries++
          localRetries++
          if (--this.attemptsLeft <= 0) break
          if (collides && localRetries <= localTries) continue
          if (fallbackTries > 0 && localRetries <= size + fallbackTries) continue
          descend = retries < tries
          break
        }
      }
      if (!filled) continue
      out[base + placed] = item
      placed++
      room--
      if (this.profile !== undefined) this.countTries(retries)
    }
    return placed
  }

  /** Puts a device beneath `item` into `leaves`, in the place where `item` itself is about to go. */
  private leafFirstn(item: number, r: number, base: number, placed: number, room: number): boolean {
    if (item >= 0) {
      this.leaves[base + placed] = item
      return true
    }
    const { varyR, stable, leafTries } = this.frame
    const leafR = varyR === 0 ? 0 : r >> (varyR - 1)
    const numrep = stable !== 0 ? 1 : placed + 1
    return this.chooseFirstn(-1 - item, numrep, 0, this.leaves, base, placed, room, leafTries, false, leafR) > placed
  }

  /**
   * Breadth first: every place keeps its position, and one that cannot be filled stays {@link crushItemNone}.
   * Fills `places` entries of `out` from `base + first` on.
   */
  private chooseIndep(
    bucket: number,
    places: number,
    numrep: number,
    type: number,
    out: Int32Array,
    base: number,
    first: number,
    tries: number,
    toLeaf: boolean,
    parentR: number,
  ): void {
    const { chooser, leaves, maxDevices } = this
    const x = this.frame.x
    const end = first + places
    let left = places
    let retries = 0
    for (let rep = first; rep < end; rep++) {
      out[base + rep] = itemUndefined
      if (toLeaf) leaves[base + rep] = itemUndefined
    }
    for (; left > 0 && retries < tries && this.attemptsLeft > 0; retries++) {
      for (let rep = first; rep < end; rep++) {
        if (out[base + rep] !== itemUndefined) continue
        this.attemptsLeft--
        let inside = bucket
        for (;;) {
          const size = chooser.size(inside)
          if (size === 0) break
          const stride = chooser.isUniform(inside) && size % numrep === 0 ? numrep + 1 : numrep
          const r = (rep + parentR + Math.imul(stride, retries)) | 0
          const item = chooser.choose(inside, x, r, this.chooseArgs, first)
          const itemType = item < 0 ? chooser.type(-1 - item) : 0
          if (item >= maxDevices || (itemType !== type && (item >= 0 || !chooser.has(-1 - item)))) {
            // No retry would end otherwise: the place stays empty.
            out[base + rep] = crushItemNone
            if (toLeaf) leaves[base + rep] = crushItemNone
            left--
            break
          }
          if (itemType !== type) {
            inside = -1 - item
            continue
          }
          if (contains(out, base + first, base + end, item)) break
          if (toLeaf && !this.leafIndep(item, r, numrep, base, rep)) break
          if (type === 0 && this.isOut(item, x)) break
          out[base + rep] = item
          left--
          break
        }
      }
    }
    for (let rep = first; rep < end; rep++) {
      if (out[base + rep] === itemUndefined) out[base + rep] = crushItemNone
      if (toLeaf && leaves[base + rep] === itemUndefined) leaves[base + rep] = crushItemNone
    }
    if (this.profile !== undefined) this.countTries(retries)
  }

  private leafIndep(item: number, r: number, numrep: number, base: number, rep: number): boolean {
    const { leaves, frame } = this
    if (item >= 0) {
      leaves[base + rep] = item
      return true
    }
    this.chooseIndep(-1 - item, 1, numrep, 0, leaves, base, rep, frame.leafTries, false, r)
    return leaves[base + rep] !== crushItemNone
  }
}

function contains(out: Int32Array, from: number, to: number, item: number): boolean {
  for (let i = from; i < to; i++) if (out[i] === item) return true
  return false
}
