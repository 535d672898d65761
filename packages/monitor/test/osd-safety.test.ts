/** Whether OSDs may be stopped or given up: never yes on the word of statistics that are old. */
import type { Epoch, OsdId } from '@shoal/base'
import type { PgStats } from '@shoal/cluster-map'
import { describe, expect, it } from 'vitest'
import { Told } from './support/told-cluster.ts'

async function told(
  osds: readonly number[],
): Promise<{ told: Told; current: Partial<PgStats>; acting: readonly OsdId[] }> {
  const made = await new Told(21).found(1, osds)
  const acting = await made.acting()
  return { told: made, acting, current: { up: acting, acting, actingPrimary: acting[0] as OsdId } }
}

const okToStop = (one: Told, ...ids: readonly number[]) => one.command({ prefix: 'osd ok-to-stop', ids })
const safeToDestroy = (one: Told, ...ids: readonly number[]) => one.command({ prefix: 'osd safe-to-destroy', ids })

describe('ok-to-stop', () => {
  it('is no before the primaries have told, and as long as they have told of other members', async () => {
    const { told: one, acting, current } = await told([0, 1, 2])
    await expect(okToStop(one, 0)).rejects.toMatchObject({ code: 'EBUSY', hint: expect.stringContaining('not told') })
    await one.tell(0.5, { ...current, acting: acting.slice(0, 2) })
    await expect(okToStop(one, 0)).rejects.toMatchObject({ code: 'EBUSY', hint: expect.stringContaining('not told') })
    await one.tell(0.5, current)
    expect((await okToStop(one, 0)).data).toMatchObject({ okBecomeDegraded: ['1.0'] })
  })

  it('is no where fewer than min_size would be left, or one that is left misses objects', async () => {
    const { told: one, current } = await told([0, 1, 2])
    await one.tell(0.5, current)
    await expect(okToStop(one, 0, 1)).rejects.toMatchObject({ hint: expect.stringContaining('fewer copies') })
    await one.tell(0.5, { ...current, states: ['active', 'degraded', 'recovery_wait'] })
    await expect(okToStop(one, 0)).rejects.toMatchObject({ hint: expect.stringContaining('recover') })
    await one.tell(0.5, { ...current, states: ['peering'] })
    await expect(okToStop(one, 0)).rejects.toMatchObject({ hint: expect.stringContaining('not active') })
  })
})

describe('safe-to-destroy', () => {
  it('is no for those that serve, and for those that still hold copies', async () => {
    const { told: one, acting, current } = await told([0, 1, 2, 3])
    const spare = [0, 1, 2, 3].find((id) => !acting.includes(id as OsdId)) as number
    await expect(safeToDestroy(one, spare)).rejects.toMatchObject({ code: 'EAGAIN' })
    await one.tell(0.5, current, 1)
    await expect(safeToDestroy(one, acting[1] as number)).rejects.toMatchObject({ code: 'EBUSY', hint: /drain/ })
    await expect(safeToDestroy(one, spare)).rejects.toMatchObject({ code: 'EBUSY' })
    // It told of an earlier map, and not all is clean: it may have got something since.
    await one.tell(0.5, { ...current, states: ['active', 'degraded'] }, 0)
    await one.command({ prefix: 'osd set', key: 'noout' })
    await expect(safeToDestroy(one, spare)).rejects.toMatchObject({ code: 'EBUSY' })
    await one.tell(0.5, { ...current, states: ['active', 'degraded'] }, 0)
    expect((await safeToDestroy(one, spare)).data).toMatchObject({ safe: [spare] })
    await one.tell(0.5, current, 0)
    expect((await safeToDestroy(one, spare, 99)).data).toMatchObject({ safe: [spare, 99] })
  })

  it('is no for one that is down while others lack copies', async () => {
    const { told: one, acting, current } = await told([0, 1, 2, 3])
    const spare = [0, 1, 2, 3].find((id) => !acting.includes(id as OsdId)) as number
    await one.command({ prefix: 'osd down', ids: [spare] })
    await one.tell(0.5, { ...current, states: ['active', 'degraded'], reportedEpoch: 101 as Epoch })
    await expect(safeToDestroy(one, spare)).rejects.toMatchObject({ code: 'EBUSY', message: /may hold copies/ })
    await one.tell(0.5, { ...current, reportedEpoch: 102 as Epoch })
    expect((await safeToDestroy(one, spare)).data).toMatchObject({ safe: [spare] })
  })
})

describe('drain', () => {
  it('takes the weight, says how to give it back, and does nothing twice', async () => {
    const { told: one } = await told([0, 1, 2, 3])
    const first = await one.command({ prefix: 'osd drain', ids: [1, 2] })
    expect(first.status).toContain('shoal crush reweight osd.1 1')
    expect(first.data).toMatchObject({
      drained: [
        { id: 1, crushWeightBefore: 1 },
        { id: 2, crushWeightBefore: 1 },
      ],
    })
    expect((await one.acting()).filter((osd) => osd === 1 || osd === 2)).toEqual([])
    expect((await one.command({ prefix: 'osd drain', ids: [1] })).status).toContain('already')
    await expect(one.command({ prefix: 'osd drain', ids: [7] })).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

describe('repeer', () => {
  it('begins an interval with the same members', async () => {
    const { told: one, acting } = await told([0, 1, 2])
    await one.command({ prefix: 'pg repeer', pgid: '1.0' })
    const now = await one.acting()
    expect(now).not.toEqual(acting)
    const byId = (a: number, b: number): number => a - b
    expect(now.toSorted(byId)).toEqual(acting.toSorted(byId))
    expect(now[0]).toBe(acting[0])
    await expect(one.command({ prefix: 'pg repeer', pgid: '1.7' })).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
