/**
 * GB/s of data that one core encodes, decodes and updates, chunks in and out of the kernel's memory included. A call is given
 * one chunk of each shard; "fresh" allocates its results, "reused" writes them where the caller says.
 *
 *   npx tsx --conditions=source bench/erasure.ts [--record]
 */
import { Prng } from '../packages/base/src/index.ts'
import { createErasureCode } from '../packages/erasure/src/index.ts'
import { report, round } from './support/local-cluster.ts'

const rounds = 7
const bytesPerRound = 400e6
/** Data encoded per core at 4+2, units of 4 KiB. */
const goalGbPerSecond = 3

/** The best of some rounds. */
function gbPerSecond(bytesPerCall: number, call: () => unknown): number {
  const calls = Math.ceil(bytesPerRound / bytesPerCall)
  let best = 0
  for (let i = 0; i < rounds; i++) {
    const startMs = performance.now()
    for (let done = 0; done < calls; done++) call()
    best = Math.max(best, (calls * bytesPerCall) / (performance.now() - startMs) / 1e6)
  }
  return round(best, 2)
}

function measure(k: number, m: number, unitBytes: number): object {
  const code = createErasureCode({ k, m })
  const random = new Prng(k)
  const data = Array.from({ length: k }, () => random.bytes(unitBytes))
  const parity = code.encode(data).map((chunk) => chunk.slice())
  const without = (...lost: readonly number[]): Map<number, Uint8Array> =>
    new Map([...[...data, ...parity].entries()].filter(([index]) => !lost.includes(index)))
  const [one, two] = [without(1), without(0, 1)]
  const deltas = new Map([[1, random.bytes(unitBytes)]])
  const object = k * unitBytes
  return {
    code: `${k}+${m}`,
    unitKiB: unitBytes / 1024,
    kernel: code.kernelName,
    encodeFresh: gbPerSecond(object, () => code.encode(data)),
    encodeReused: gbPerSecond(object, () => code.encode(data, parity)),
    decodeOneLoss: gbPerSecond(object, () => code.decode(one, [1])),
    decodeTwoLosses: gbPerSecond(object, () => code.decode(two, [0, 1])),
    updateOfOneUnit: gbPerSecond(unitBytes, () => code.update(deltas, parity, parity)),
  }
}

const results = [measure(4, 2, 4096), measure(4, 2, 65_536), measure(8, 3, 4096), measure(8, 3, 65_536)]
report('erasure', { unit: 'GB/s of data on one core, best of rounds', rounds, goalGbPerSecond }, results)
