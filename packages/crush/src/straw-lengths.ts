/**
 * The lengths of the straws of a (legacy) straw bucket. Version 0 gives equal weights one straw and counts them out at
 * once, which is known to be wrong when weights repeat or are zero; version 1 goes item by item. Both stay as they are:
 * data lies where they put it. New buckets are straw2, which has no such lengths.
 */

/** C's pow, in which 1 to the power of infinity is 1. */
function power(base: number, exponent: number): number {
  return base === 1 ? 1 : base ** exponent
}

/** The 16.16 length of each straw, in the order of `weights`. Any `version` above 0 is version 1. */
export function strawLengths(weights: readonly number[], version: number): number[] {
  const size = weights.length
  const lengths: number[] = Array.from({ length: size }, () => 0)
  const order = Array.from(weights.keys()).sort((a, b) => (weights[a] as number) - (weights[b] as number) || a - b)
  const weightAt = (rank: number): number => weights[order[rank] as number] as number

  let left = size
  let straw = 1
  let below = 0
  let lastWeight = 0
  for (let rank = 0; rank < size; ) {
    const weight = weightAt(rank)
    if (weight === 0) {
      rank++
      if (version !== 0) left--
      continue
    }
    const scaled = straw * 0x1_0000
    lengths[order[rank] as number] = Number.isFinite(scaled) ? Math.trunc(scaled) >>> 0 : 0
    rank++
    if (rank === size) break
    const next = weightAt(rank)
    if (version === 0 && next === weight) continue

    below += (weight - lastWeight) * left
    if (version === 0) {
      for (let i = rank; i < size && weightAt(i) === next; i++) left--
    } else {
      left--
    }
    const above = Math.imul(left, next - weight) >>> 0
    straw *= power(1 / (below / (below + above)), 1 / left)
    lastWeight = weight
  }
  return lengths
}
