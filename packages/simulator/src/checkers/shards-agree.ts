/**
 * At quiescence the shards of every object of an erasure-coded pool are of one version: the same objects, attributes and
 * lengths everywhere, and parity that is the parity of the data. What was kept to undo writes is gone.
 */
import { equalBytes } from '@shoal/base'
import { createErasureCode } from '@shoal/erasure'
import type { ReplicaCopy, StoredCopy, Violation } from '../history.ts'
import type { ReplicaExpectation } from './replicas-equal.ts'

export function checkShardsAgree(
  copies: readonly ReplicaCopy[],
  { k, m }: { readonly k: number; readonly m: number },
  { copies: wanted }: ReplicaExpectation = {},
): readonly Violation[] {
  const code = createErasureCode({ k, m })
  const violations: Violation[] = []
  for (const pgId of new Set(copies.map((copy) => copy.pgId))) {
    const shards = copies.filter((copy) => copy.pgId === pgId)
    const report = (object: string, message: string): void => {
      violations.push({ checker: 'shards-agree', object, message: `${pgId} ${object}: ${message}` })
    }
    const count = wanted?.(pgId) ?? k + m
    if (shards.length !== count) report(pgId, `${shards.length} shards instead of ${count}`)
    for (const key of new Set(shards.flatMap(({ objects }) => [...objects.keys()]))) {
      if (key.includes(stashMark)) report(key, 'what would undo a write is kept when nothing is under way')
      const found = new Map<number, StoredCopy>()
      for (const { shard = 0, objects } of shards) {
        const copy = objects.get(key)
        if (copy !== undefined) found.set(shard, copy)
      }
      if (found.size !== shards.length) report(key, `on shards ${[...found.keys()].join(', ')} only`)
      else compareShards(found, (message) => report(key, message))
    }
  }
  return violations

  function compareShards(found: ReadonlyMap<number, StoredCopy>, report: (message: string) => void): void {
    const [[first, one] = [0, undefined], ...others] = [...found]
    if (one === undefined) return
    for (const [shard, other] of others) {
      if (other.data.length !== one.data.length) {
        return report(`shards ${first} and ${shard} have ${one.data.length} and ${other.data.length} bytes`)
      }
      const name = [...new Set([...one.xattrs.keys(), ...other.xattrs.keys()])].find(
        (each) => !equalBytes(one.xattrs.get(each) ?? noBytes, other.xattrs.get(each) ?? noBytes),
      )
      if (name !== undefined) return report(`shards ${first} and ${shard} differ in the attribute '${name}'`)
    }
    const data = Array.from({ length: k }, (_, shard) => found.get(shard)?.data)
    if (!data.every((bytes) => bytes !== undefined)) return
    for (const [at, parity] of code.encode(data).entries()) {
      const stored = found.get(k + at)?.data
      if (stored !== undefined && !equalBytes(parity, stored)) {
        const from = parity.findIndex((byte, i) => byte !== stored[i])
        return report(`shard ${k + at} is not the parity of the data from byte ${from} on`)
      }
    }
  }
}

/** In the key of an object, which is JSON: the namespace of what only an OSD sees. */
const stashMark = '\\u0000rollback'
const noBytes = new Uint8Array(0)
