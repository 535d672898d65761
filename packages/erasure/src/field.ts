/**
 * GF(2^8): bytes as polynomials over GF(2), modulo x^8 + x^4 + x^3 + x^2 + 1 (0x11d), the field of Ceph's jerasure with
 * w=8. Addition is XOR; the powers of x (2) run through all 255 elements that are not zero, so that a product is a sum
 * of logarithms.
 */
import { assert } from '@shoal/base'

const polynomial = 0x11d
const order = 255

/** Powers of x, twice over: a sum of two logarithms needs no modulo. */
const powers = new Uint8Array(2 * order)
const logarithms = new Uint8Array(256)

for (let exponent = 0, power = 1; exponent < order; exponent++) {
  powers[exponent] = power
  powers[exponent + order] = power
  logarithms[power] = exponent
  power <<= 1
  if (power > 0xff) power ^= polynomial
}

export function multiply(a: number, b: number): number {
  if (a === 0 || b === 0) return 0
  return powers[(logarithms[a] as number) + (logarithms[b] as number)] as number
}

export function invert(a: number): number {
  assert(a !== 0, 'zero has no inverse')
  return powers[order - (logarithms[a] as number)] as number
}

/** The products of `coefficient` with all bytes. */
export function productTable(coefficient: number): Uint8Array {
  const table = new Uint8Array(256)
  for (let byte = 0; byte < 256; byte++) table[byte] = multiply(coefficient, byte)
  return table
}

/**
 * The products of `coefficient` with the 16 low nibbles, then with the 16 high ones. Multiplication distributes over
 * XOR, so the product with a byte is the XOR of two look-ups: what a vector shuffle does for 16 bytes at once.
 */
export function nibbleTables(coefficient: number): Uint8Array {
  const tables = new Uint8Array(32)
  for (let nibble = 0; nibble < 16; nibble++) {
    tables[nibble] = multiply(coefficient, nibble)
    tables[16 + nibble] = multiply(coefficient, nibble << 4)
  }
  return tables
}
