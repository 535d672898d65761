/** The workload of mirrored images over pools in memory: a sound library passes, and each thing it is about happens. */
import { Prng } from '@shoal/base'
import { expect, test } from 'vitest'
import { MemoryObjects } from '../../../block/test/memory-objects.ts'
import { History, type WorkloadContext } from '../../src/history.ts'
import { mirroredImages } from '../../src/workloads/mirrored-images.ts'

/** Where a workload finds a cluster: pools in memory, and time that passes when somebody sleeps. */
function memoryContext(seed: number, sleepsMax: number): WorkloadContext {
  const pools = new Map<string, MemoryObjects>()
  let nowMs = 0
  let sleeps = 0
  const client = {
    pool(name: string, namespace: string): MemoryObjects {
      const key = `${name}/${namespace}`
      const known = pools.get(key) ?? new MemoryObjects()
      pools.set(key, known)
      return known
    },
  }
  const context = {
    client,
    pool: { name: 'block' },
    random: new Prng(seed),
    nowMs: () => nowMs,
    async sleep(ms: number) {
      nowMs += ms
      sleeps++
    },
    stopped: () => sleeps > sleepsMax,
    process: 1,
    history: new History(),
  }
  return context as unknown as WorkloadContext
}

test('a sound library passes', async () => {
  const seen = new Set<unknown>()
  for (const seed of [1, 2, 3]) {
    const context = memoryContext(seed, 120)
    const workload = mirroredImages()
    await workload.run(context)
    expect(await workload.check(context.history, undefined as never)).toEqual([])
    for (const { invoke, outcome } of context.history.events) if (outcome?.kind === 'ok') seen.add(invoke.kind)
  }
  const wanted = ['write', 'discard', 'snapshot', 'forget', 'copy', 'sync', 'read', 'demote', 'promote', 'resync']
  expect(wanted.filter((kind) => !seen.has(kind))).toEqual([])
})
