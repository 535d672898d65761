/**
 * Checksums of the store: xxh64, from the WebAssembly build of `xxhash-wasm`.
 *
 * A block's checksum is the low half of its xxh64. 32 bits are enough there: the checksum must catch accidental damage
 * of one 4 KiB block (a missed one in 2^32), the map of a 4 MiB object stays at 4 KiB instead of 8, and a narrower
 * value needs no BigInt in memory. xxh64 is used because the WebAssembly build hashes it faster than xxh32.
 */
import xxhash, { type XXHashAPI } from 'xxhash-wasm'

let loading: Promise<Checksums> | undefined

export class Checksums {
  private readonly api: XXHashAPI

  constructor(api: XXHashAPI) {
    this.api = api
  }

  /** The low 32 bits of xxh64, seed 0. */
  low32(bytes: Uint8Array): number {
    return Number(BigInt.asUintN(32, this.api.h64Raw(bytes)))
  }

  xxh64(bytes: Uint8Array): bigint {
    return this.api.h64Raw(bytes)
  }
}

/** Instantiates the WebAssembly module once per process. */
export function loadChecksums(): Promise<Checksums> {
  loading ??= xxhash().then((api) => new Checksums(api))
  return loading
}
