/**
 * Erasure code profiles: named sets of `KEY=VALUE` words, in the words of Ceph's `osd erasure-code-profile`. A pool gets a copy
 * of its profile among its options, where it stays whatever becomes of the name: the code of a pool can never change.
 */
import type { Pool } from './osd-map.ts'

const optionKey = 'erasure_code'
const nameKey = 'erasure_code_profile'

/** Options of a pool that are not shown among its settings: the name of the profile is. */
export const erasureOptions: ReadonlySet<string> = new Set([optionKey])

/** Its words, as one text; undefined for a replicated pool. */
export function erasureProfileOf(pool: Pool | undefined): string | undefined {
  return pool?.options.get(optionKey)
}

export function erasurePoolOptions(name: string, words: readonly string[]): ReadonlyMap<string, string> {
  return new Map([
    [nameKey, name],
    [optionKey, words.join(' ')],
  ])
}
