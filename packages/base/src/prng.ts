import type { Random } from './env.ts'

/**
 * sfc32 (Chris Doty-Humphrey's Small Fast Counting generator, 128 bits of state): the seeded source of every random
 * choice, in production (seeded from the system's entropy) and in the simulator (seeded from its one seed).
 */
export class Prng implements Random {
  private a: number
  private b: number
  private c: number
  private counter = 1

  constructor(seed: number | readonly [number, number, number]) {
    const [a, b, c] = typeof seed === 'number' ? [seed | 0, Math.floor(seed / 0x1_0000_0000) | 0, 0x9e3779b9 | 0] : seed
    this.a = a | 0
    this.b = b | 0
    this.c = c | 0
    for (let i = 0; i < 12; i++) this.uint32()
  }

  uint32(): number {
    const sum = (this.a + this.b + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** Uniform in [0, 1). */
  fraction(): number {
    return this.uint32() / 0x1_0000_0000
  }

  /** Uniform integer in [0, limit); limit at most 2^32. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit)
  }

  /** A non-negative safe integer of 53 random bits. */
  uint53(): number {
    return (this.uint32() >>> 11) * 0x1_0000_0000 + this.uint32()
  }

  bytes(length: number): Uint8Array {
    const result = new Uint8Array(length)
    for (let i = 0; i < length; i++) result[i] = this.uint32() & 0xff
    return result
  }

  /** An independent generator, so that one component's draws do not shift another's. */
  fork(): Prng {
    return new Prng([this.uint32(), this.uint32(), this.uint32()])
  }
}
