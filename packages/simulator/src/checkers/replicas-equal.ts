/** At quiescence all copies of a placement group are the same to the byte: objects, bytes, attributes (the versions among them), omap. */
import { equalBytes } from '@shoal/base'
import type { ReplicaCopy, StoredCopy, Violation } from '../history.ts'

export interface ReplicaExpectation {
  /** How many copies a placement group has when it is clean. */
  readonly copies?: (pgId: string) => number
}

export function checkReplicasEqual(
  copies: readonly ReplicaCopy[],
  { copies: wanted }: ReplicaExpectation = {},
): readonly Violation[] {
  const violations: Violation[] = []
  for (const [pgId, ofPg] of grouped(copies)) {
    const [first, ...others] = ofPg
    if (first === undefined) continue
    const count = wanted?.(pgId) ?? ofPg.length
    if (ofPg.length !== count) {
      const who = ofPg.map(({ osd }) => `osd.${osd}`).join(', ')
      violations.push(problem(pgId, `${pgId} has ${ofPg.length} copies (${who}) instead of ${count}`))
    }
    for (const other of others) violations.push(...compareCopies(first, other))
  }
  return violations
}

function grouped(copies: readonly ReplicaCopy[]): ReadonlyMap<string, readonly ReplicaCopy[]> {
  const byPg = new Map<string, ReplicaCopy[]>()
  for (const copy of copies) {
    const ofPg = byPg.get(copy.pgId)
    if (ofPg === undefined) byPg.set(copy.pgId, [copy])
    else ofPg.push(copy)
  }
  return byPg
}

function compareCopies(one: ReplicaCopy, other: ReplicaCopy): readonly Violation[] {
  const violations: Violation[] = []
  const report = (key: string, message: string): void => {
    violations.push(problem(key, `${one.pgId} ${key}: ${message}`, { pgId: one.pgId, osds: [one.osd, other.osd] }))
  }
  for (const key of new Set([...one.objects.keys(), ...other.objects.keys()])) {
    const a = one.objects.get(key)
    const b = other.objects.get(key)
    if (a === undefined) report(key, `on osd.${other.osd} only, not on osd.${one.osd}`)
    else if (b === undefined) report(key, `on osd.${one.osd} only, not on osd.${other.osd}`)
    else {
      const difference = differenceOf(a, b)
      if (difference !== undefined) report(key, `osd.${one.osd} and osd.${other.osd} differ in ${difference}`)
    }
  }
  return violations
}

function differenceOf(a: StoredCopy, b: StoredCopy): string | undefined {
  if (a.data.length !== b.data.length) return `size: ${a.data.length} and ${b.data.length} bytes`
  if (Buffer.compare(a.data, b.data) !== 0) return `bytes from ${firstDifference(a.data, b.data)} on`
  const xattrs = mapDifference(a.xattrs, b.xattrs)
  if (xattrs !== undefined) return `the attribute '${xattrs}'`
  if (!equalBytes(a.omapHeader, b.omapHeader)) return 'the omap header'
  const omap = mapDifference(omapOf(a), omapOf(b))
  return omap === undefined ? undefined : `the omap key '${omap}'`
}

function firstDifference(a: Uint8Array, b: Uint8Array): number {
  return a.findIndex((byte, at) => byte !== b[at])
}

function omapOf({ omap }: StoredCopy): ReadonlyMap<string, Uint8Array> {
  return new Map(omap.map(({ key, value }) => [Buffer.from(key).toString('latin1'), value]))
}

function mapDifference(a: ReadonlyMap<string, Uint8Array>, b: ReadonlyMap<string, Uint8Array>): string | undefined {
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    const one = a.get(key)
    const other = b.get(key)
    if (one === undefined || other === undefined || !equalBytes(one, other)) return key
  }
  return undefined
}

function problem(object: string, message: string, details?: unknown): Violation {
  return { checker: 'replicas-equal', object, message, ...(details === undefined ? {} : { details }) }
}
