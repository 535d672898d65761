/**
 * What a scrub can tell of shards, which differ from each other by design: whether their digests are those of one code
 * word (linearDigest of the erasure package). The bytes stay where they are.
 */
import type { OsdId } from '@shoal/base'
import { type ErasureCode, linearDigestChunk } from '@shoal/erasure'
import { shardOf } from '../member.ts'
import type { ShardCheck } from '../scrub-compare.ts'

interface Digested {
  readonly osd: OsdId
  readonly dataDigest: number
}

export function shardCheck(code: ErasureCode): ShardCheck {
  const fit = (shards: readonly Digested[]): boolean => {
    if (shards.length <= code.k || shards.every(({ dataDigest }) => dataDigest === 0)) return true
    const chunks = new Map(shards.map(({ osd, dataDigest }) => [shardOf(osd), linearDigestChunk(dataDigest)]))
    const some = new Map([...chunks].slice(0, code.k))
    const others = [...chunks.keys()].filter((shard) => !some.has(shard))
    for (const [shard, made] of code.decode(some, others)) {
      if (chunks.get(shard)?.every((byte, at) => byte === made[at]) !== true) return false
    }
    return true
  }
  return {
    needed: code.k,
    misfits(shards) {
      if (fit(shards)) return []
      // Without one of them something must be left that can contradict.
      if (shards.length - 1 <= code.k) return undefined
      const suspects = shards.filter((one) => fit(shards.filter((other) => other !== one)))
      return suspects.length === 1 ? suspects.map(({ osd }) => osd) : undefined
    },
  }
}
