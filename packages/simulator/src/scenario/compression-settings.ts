/** How a pool is compressed: anything that `pool set` takes. */
import type { Prng } from '@shoal/base'
import { pick } from '../faults/fault.ts'

export function compressionSettings(random: Prng): Readonly<Record<string, string>> {
  return {
    compression_mode: pick(random, ['aggressive', 'force']),
    compression_algorithm: pick(random, ['lz4', 'lz4', 'zlib', 'brotli']),
    compression_required_ratio: pick(random, ['0.5', '0.875', '1']),
    compression_max_blob_size: String(pick(random, [8, 16, 32, 64, 128]) * 1024),
  }
}
