/**
 * What `crushtool --test` does: maps a range of inputs by the rules of a map and prints, line for line, what crushtool
 * prints. The numbers of expected objects are computed in 32-bit floats because crushtool's are.
 */
import { ClusterError } from '@shoal/base'
import { CrushMapper } from './mapper.ts'
import { hash2 } from './rjenkins.ts'
import { type CrushMap, crushItemNone, stepOp } from './types.ts'

export interface CrushTestOptions {
  /** One rule; or the rules from `minRule` to `maxRule`; all if not given. */
  readonly rule?: number
  readonly minRule?: number
  readonly maxRule?: number
  /** Only rules of that (old) ruleset number. */
  readonly ruleset?: number
  /** How many devices to choose; or from `minRep` to `maxRep`; the rule's own sizes if not given. */
  readonly numRep?: number
  readonly minRep?: number
  readonly maxRep?: number
  /** One input; or those from `minX` to `maxX`; 0 to 1023 if not given. */
  readonly x?: number
  readonly minX?: number
  readonly maxX?: number
  /** Mixes the id of a pool into every input. */
  readonly poolId?: number
  /** Device id to weight between 0 and 1; the others are 1 if they are in the map, else 0. */
  readonly weights?: ReadonlyMap<number, number>
  readonly showMappings?: boolean
  readonly showBadMappings?: boolean
  readonly showStatistics?: boolean
  readonly showUtilization?: boolean
  readonly showUtilizationAll?: boolean
  readonly showChooseTries?: boolean
}

/** Takes one line without its end; `error` lines belong on the error output. */
export type PrintLine = (line: string, stream: 'output' | 'error') => void

/** Places asked for at once, at most. */
const numRepMax = 4096

/** Throws EINVAL if the map is not one that CRUSH can walk, or an option makes no sense. */
export function testCrushMap(map: CrushMap, options: CrushTestOptions, print: PrintLine): void {
  new Tester(map, options, print).run()
}

class Tester {
  private readonly map: CrushMap
  private readonly options: CrushTestOptions
  private readonly print: PrintLine
  private readonly mapper: CrushMapper
  private readonly weights: Uint32Array
  private readonly totalWeight: number
  private readonly statistics: boolean
  private readonly minX: number
  private readonly maxX: number

  constructor(map: CrushMap, options: CrushTestOptions, print: PrintLine) {
    this.map = map
    this.options = options
    this.print = print
    this.mapper = new CrushMapper(map)
    this.weights = deviceWeights(map, options.weights ?? new Map())
    let total = 0
    for (const weight of this.weights) total = (total + weight) | 0
    this.totalWeight = total
    const { showStatistics, showUtilization, showUtilizationAll } = options
    this.statistics = showStatistics === true || showUtilization === true || showUtilizationAll === true
    const { x } = options
    const [minX, maxX] = x === undefined ? [options.minX ?? -1, options.maxX ?? -1] : [x, x]
    const given = minX >= 0 && maxX >= 0
    this.minX = given ? minX : 0
    this.maxX = given ? maxX : 1023
  }

  run(): void {
    const { options, map } = this
    if (options.showUtilizationAll === true) {
      const weights = Array.from(this.weights, (weight) => weight.toString(16))
      this.print(`devices weights (hex): [${weights.join(',')}]`, 'error')
    }
    if (options.showChooseTries === true) this.mapper.startProfile()
    const { rule } = options
    const [minRule, maxRule] = rule === undefined ? [options.minRule ?? -1, options.maxRule ?? -1] : [rule, rule]
    const all = minRule < 0 || maxRule < 0
    const last = Math.min(all ? map.rules.length - 1 : maxRule, map.rules.length - 1)
    for (let id = all ? 0 : minRule; id <= last; id++) this.testRule(id)
    if (options.showChooseTries === true) {
      for (const [retries, count] of this.mapper.takeProfile().entries()) {
        this.print(`${String(retries).padStart(2)}: ${String(count).padStart(9)}`, 'output')
      }
    }
  }

  private testRule(id: number): void {
    const { options } = this
    const rule = this.map.rules[id]
    if (rule === undefined) {
      if (this.statistics) this.print(`rule ${id} dne`, 'output')
      return
    }
    if (options.ruleset !== undefined && options.ruleset >= 0 && rule.ruleset !== options.ruleset) return
    const { numRep } = options
    let [minRep, maxRep] = numRep === undefined ? [options.minRep ?? -1, options.maxRep ?? -1] : [numRep, numRep]
    if (minRep < 0 || maxRep < 0) {
      minRep = rule.minSize
      maxRep = rule.maxSize
    }
    if (maxRep > numRepMax) {
      throw new ClusterError('EINVAL', `${maxRep} replicas are too many`, { hint: `ask for at most ${numRepMax}` })
    }
    if (this.statistics) {
      const range = `x = ${this.minX}..${this.maxX}, numrep = ${minRep}..${maxRep}`
      this.print(`rule ${id} (${this.ruleName(id)}), ${range}`, 'output')
    }
    for (let count = minRep; count <= maxRep; count++) {
      if (this.totalWeight !== 0) this.testCount(id, count)
    }
  }

  private ruleName(id: number): string {
    return this.map.ruleNames.get(id) ?? ''
  }

  private testCount(id: number, count: number): void {
    const { options, map } = this
    const stored = new Float64Array(map.maxDevices)
    const sizes = new Map<number, number>()
    for (let x = this.minX; x <= this.maxX; x++) {
      const input = options.poolId === undefined || options.poolId === -1 ? x : hash2(x, options.poolId)
      const devices = this.mapper.map(id, input, count, this.weights, 0)
      if (options.showMappings === true) this.print(`CRUSH rule ${id} x ${x} [${devices.join(',')}]`, 'output')
      let holes = false
      for (const device of devices) {
        if (device === crushItemNone) holes = true
        else if (device >= 0 && device < stored.length) stored[device] = (stored[device] as number) + 1
      }
      sizes.set(devices.length, (sizes.get(devices.length) ?? 0) + 1)
      if (options.showBadMappings === true && (devices.length !== count || holes)) {
        this.print(`bad mapping rule ${id} x ${x} num_rep ${count} result [${devices.join(',')}]`, 'output')
      }
    }
    if (this.statistics) this.printStatistics(id, count, sizes, stored)
  }

  private printStatistics(id: number, count: number, sizes: ReadonlyMap<number, number>, stored: Float64Array): void {
    const inputs = this.maxX - this.minX + 1
    for (const [size, times] of [...sizes].sort(([a], [b]) => a - b)) {
      const subject = `rule ${id} (${this.ruleName(id)}) num_rep ${count} result size == ${size}`
      this.print(`${subject}:\t${times}/${inputs}`, 'output')
    }
    const { showUtilization, showUtilizationAll } = this.options
    if (showUtilization !== true && showUtilizationAll !== true) return
    const expected = Math.fround(Math.imul(Math.min(count, this.affectedMax(id)), inputs))
    for (const [device, objects] of stored.entries()) {
      const share = Math.fround(Math.fround(this.weights[device] as number) / Math.fround(this.totalWeight))
      const due = Math.fround(share * expected)
      if (showUtilization === true && !(due > 0 && objects > 0)) continue
      this.print(`  device ${device}:\t\t stored : ${objects}\t expected : ${shortFloat(due)}`, 'output')
    }
  }

  /** Crushtool's estimate of how many devices a rule can choose, which its expected numbers are made of. */
  private affectedMax(id: number): number {
    const { map } = this
    const types: number[] = []
    const wanted = new Map<number, number>()
    for (const { op, arg1, arg2 } of map.rules[id]?.steps ?? []) {
      if (op < stepOp.chooseFirstn || op === stepOp.emit) continue
      types.push(arg2)
      wanted.set(arg2, arg1)
    }
    const available = new Map<number, number>()
    for (const type of types) {
      let found = available.get(type) ?? 0
      for (const item of map.names.keys()) if (item < 0 && map.buckets[-1 - item]?.type === type) found++
      available.set(type, found)
    }
    for (const type of types) {
      const limit = wanted.get(type) ?? 0
      if (limit > 0 && limit < (available.get(type) ?? 0)) available.set(type, limit)
    }
    let max = Math.max(map.buckets.length, map.maxDevices)
    for (const type of types) {
      const found = available.get(type) ?? 0
      if (found > 0 && found < max) max = found
    }
    return max
  }
}

function deviceWeights(map: CrushMap, given: ReadonlyMap<number, number>): Uint32Array {
  const weights = new Uint32Array(map.maxDevices)
  for (const bucket of map.buckets) {
    for (const item of bucket?.items ?? []) if (item >= 0) weights[item] = 0x1_0000
  }
  for (const [device, weight] of given) {
    if (device < 0 || device >= weights.length) continue
    const fixed = Math.trunc(Math.fround(weight) * 0x1_0000)
    // Out of the range of an int, the conversion gives the least int, which counts as 0.
    weights[device] = fixed > 0 && fixed <= 0x7fff_ffff ? Math.min(fixed, 0x1_0000) : 0
  }
  return weights
}

/** A 32-bit float as C++ streams print it: six significant digits, half to even. */
export function shortFloat(value: number): string {
  if (value === 0) return '0'
  const size = Math.abs(value)
  let exponent = Math.floor(Math.log10(size))
  let [leading, rest, unit] = sixDigits(size, exponent)
  if (leading >= 1_000_000) [leading, rest, unit] = sixDigits(size, ++exponent)
  if (rest * 2 > unit || (rest * 2 === unit && leading % 2 === 1)) leading++
  if (leading === 1_000_000) {
    leading = 100_000
    exponent++
  }
  const sign = value < 0 ? '-' : ''
  const text = String(leading)
  if (exponent >= 6 || exponent < -4) {
    const fraction = text.slice(1).replace(/0+$/, '')
    const power = String(Math.abs(exponent)).padStart(2, '0')
    return `${sign}${text[0]}${fraction === '' ? '' : `.${fraction}`}e${exponent < 0 ? '-' : '+'}${power}`
  }
  const whole = exponent >= 0 ? text.slice(0, exponent + 1) : '0'
  const fraction = (exponent >= 0 ? text.slice(exponent + 1) : '0'.repeat(-1 - exponent) + text).replace(/0+$/, '')
  return `${sign}${whole}${fraction === '' ? '' : `.${fraction}`}`
}

/** The first six digits of a float of that decimal exponent, what is left of it, and how much one of the digits is. */
function sixDigits(size: number, exponent: number): [leading: number, rest: number, unit: number] {
  // A float's 24 bits times a small power of ten are exact in a double, and so are the quotient and the rest.
  const scaled = exponent <= 5 ? size * 10 ** (5 - exponent) : size
  const unit = exponent <= 5 ? 1 : 10 ** (exponent - 5)
  const leading = Math.floor(scaled / unit)
  return [leading, scaled - leading * unit, unit]
}
