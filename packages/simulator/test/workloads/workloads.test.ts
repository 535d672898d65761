import { describe, expect, it } from 'vitest'
import type { Workload } from '../../src/index.ts'
import { workloads } from '../../src/index.ts'
import { extents } from '../../src/workloads/extents.ts'
import { type Anomaly, FakeCluster } from '../support/fake-cluster.ts'

/** Plain objects are slow with large ones. */
function make(name: string): Workload {
  if (name === 'extents') return extents({ lengthMax: 32 * 1024 })
  return (workloads[name] as () => Workload)()
}

/**
 * Locks, watches, snapshots and second namespaces, of which plain objects know nothing: locks.test.ts, watches.test.ts, the
 * planted bugs, and for images the tests of `block`.
 */
const notPlain: ReadonlySet<string> = new Set([
  'locks',
  'watches',
  'snapshots',
  'pool-snapshots',
  'shared-image',
  'mirrored-images',
])
const plain = Object.keys(workloads).filter((name) => !notPlain.has(name))

describe.each(plain)('%s', (name) => {
  it.each([1, 2])('find nothing wrong where nothing is (seed %i)', async (seed) => {
    const cluster = new FakeCluster(seed)
    const violations = await cluster.run(make(name), 3, 12_000)
    expect(violations.map(({ message }) => message)).toEqual([])
    expect(cluster.history.events.length).toBeGreaterThan(60)
  })
})

/** Which broken promises each workload can notice. */
const noticed: Readonly<Record<string, readonly Anomaly[]>> = {
  registers: ['stale read', 'lost update', 'reappearing write', 'guard ignored', 'failed but applied'],
  'hot-cold': ['stale read', 'lost update', 'reappearing write', 'guard ignored', 'failed but applied'],
  extents: ['stale read', 'lost update', 'applied twice', 'reappearing write', 'misplaced bytes'],
  attributes: ['stale read', 'lost update', 'reappearing write', 'guard ignored', 'failed but applied'],
  compounds: ['stale read', 'lost update', 'torn compound', 'reappearing write', 'guard ignored', 'failed but applied'],
  counters: ['stale read', 'lost update', 'applied twice', 'reappearing write', 'guard ignored', 'failed but applied'],
  listing: ['lost update', 'forgotten by listings'],
  'block-device': ['lost update', 'reappearing write', 'misplaced bytes'],
  'pool-churn': ['lost update', 'reappearing write'],
  'monitor-set': ['lost update', 'stale read'],
  quotas: ['quota ignored', 'lost update'],
  'full-disks': ['lost update'],
}

describe.each(Object.entries(noticed))('%s', (name, kinds) => {
  it.each(kinds)('notice: %s', async (anomaly) => {
    let spoiled = 0
    let found = 0
    for (let seed = 1; seed <= 3; seed++) {
      const cluster = new FakeCluster(seed, { anomaly })
      const violations = await cluster.run(make(name), 2, 10_000)
      if (cluster.spoiled > 0) spoiled++
      if (violations.some(({ undecided }) => undecided !== true)) found++
    }
    expect(spoiled).toBeGreaterThan(0)
    // Not each shows: what was lost may be overwritten before anybody looks.
    expect(found * 2).toBeGreaterThanOrEqual(spoiled)
  })
})
