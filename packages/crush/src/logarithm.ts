/**
 * Ceph's fixed-point logarithm (`crush_ln`), tabulated once for the 65,536 inputs that a straw2 draw can have.
 *
 * A draw is `(crush_ln(u) - 2^48) / weight`, truncated, in 64-bit integers. The numerator's magnitude is below 2^49 and
 * a weight is a 32-bit integer, so a double holds both exactly and `trunc(numerator / weight)` is the exact integer
 * quotient: it could differ only if the true quotient lay within 2^-53 of the next integer (relatively), but it is at
 * least 1 / (weight * quotient) > 2^-49 away from it.
 */
import { coarseLogs, fineLogs } from './generated/log-tables.ts'

const two24 = 0x100_0000
const two44 = 2 ** 44
const two48 = 2 ** 48
const two55 = 2 ** 55

/** 2^44 * log2(u + 1), for `u` in [0, 0xffff]; an exact integer below 2^48. */
export function crushLn(u: number): number {
  let x = u + 1
  let exponent = 15
  if ((x & 0x1_8000) === 0) {
    const shift = Math.clz32(x) - 16
    x <<= shift
    exponent -= shift
  }
  const index = (x >>> 8) - 128
  // The reciprocal 2^55 / (128 + index), rounded up; then x * reciprocal / 2^48 in two exact halves.
  const divisor = 128 + index
  const remainder = two55 % divisor
  const reciprocal = (two55 - remainder) / divisor + (remainder === 0 ? 0 : 1)
  const low = reciprocal % two24
  const high = (reciprocal - low) / two24
  const scaled = Math.floor((x * high + Math.floor((x * low) / two24)) / two24)
  const log = (coarseLogs[index] as number) + (fineLogs[scaled & 0xff] as number)
  return exponent * two44 + Math.floor(log / 16)
}

let table: Float64Array | undefined

/** Entry `u` is `2^48 - crushLn(u)`, the positive numerator of a draw. Made at the first use. */
export function drawNumerators(): Float64Array {
  if (table === undefined) {
    table = new Float64Array(0x1_0000)
    for (let u = 0; u < table.length; u++) table[u] = two48 - crushLn(u)
  }
  return table
}
