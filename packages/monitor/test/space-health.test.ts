/** Each check of space comes and goes; ratios and quotas that make no sense are refused. */
import { type PgState, poolQuotaOf } from '@shoal/cluster-map'
import type { ClusterUsage } from '@shoal/monitor-client'
import { describe, expect, it } from 'vitest'
import { bootOf } from './support/monitor-cluster.ts'
import { Told } from './support/told-cluster.ts'
import { gibibyte } from './support/told-stats.ts'

describe('health of space', () => {
  it.each([
    [0.86, ['OSD_NEARFULL']],
    [0.91, ['OSD_BACKFILLFULL']],
    [0.96, ['OSD_FULL', 'POOL_FULL']],
  ])('an OSD that is used to %d raises %j, and clears it when it empties', async (used, codes) => {
    const told = await new Told(1).found()
    await told.tell(0.5)
    expect(await told.codes()).toEqual([])
    await told.tell(used)
    expect(await told.codes()).toEqual(codes)
    await told.tell(0.5)
    expect(await told.codes()).toEqual([])
  })

  it.each([
    ['backfill_toofull', 'PG_BACKFILL_FULL'],
    ['recovery_toofull', 'PG_RECOVERY_FULL'],
  ] as const)('a PG that is %s raises %s until it is not', async (state: PgState, code) => {
    const told = await new Told(2).found()
    await told.tell(0.5, { states: ['active', state] })
    expect(await told.codes()).toEqual([code])
    await told.tell(0.5, { states: ['active', 'clean'] })
    expect(await told.codes()).toEqual([])
  })

  it('a pool close to its quota, and one that has reached it, by bytes and by objects', async () => {
    const told = await new Told(3).found()
    await told.command({ prefix: 'osd pool set-quota', pool: 'p', field: 'max_bytes', val: '10G' })
    await told.command({ prefix: 'osd pool set-quota', pool: 'p', field: 'max_objects', val: 100 })
    await told.tell(0.5, { bytes: 8 * gibibyte, objects: 10 })
    expect(await told.codes()).toEqual([])
    await told.tell(0.5, { bytes: 9 * gibibyte, objects: 10 })
    expect(await told.codes()).toEqual(['POOL_NEARFULL'])
    await told.tell(0.5, { bytes: 10 * gibibyte, objects: 10 })
    expect(await told.codes()).toEqual(['POOL_FULL'])
    await told.tell(0.5, { bytes: gibibyte, objects: 100 })
    expect(await told.codes()).toEqual(['POOL_FULL'])
    const usage = (await told.command({ prefix: 'df' })).data as ClusterUsage
    expect(usage.pools).toMatchObject([{ bytes: gibibyte, objects: 100, availableBytes: 9 * gibibyte }])
    await told.command({ prefix: 'osd pool set-quota', pool: 'p', field: 'max_objects', val: 0 })
    expect(await told.codes()).toEqual([])
  })
})

describe('ratios', () => {
  it.each([
    ['nearfull', 0.9],
    ['nearfull', 0],
    ['backfillfull', 0.95],
    ['backfillfull', 0.8],
    ['full', 0.9],
    ['full', 0.98],
  ])('%s is refused at %d: the three must grow, below the failsafe', async (which, ratio) => {
    const told = await new Told(4).found()
    await expect(told.command({ prefix: `osd set-${which}-ratio`, ratio })).rejects.toThrow(/ratio|would not hold/)
    expect((await told.command({ prefix: 'osd dump' })).data).toMatchObject({
      nearfullRatio: 0.85,
      backfillfullRatio: 0.9,
      fullRatio: 0.95,
    })
  })

  it('are lowered and raised in the order that keeps them growing', async () => {
    const told = await new Told(5).found()
    await told.command({ prefix: 'osd set-nearfull-ratio', ratio: 0.5 })
    await told.command({ prefix: 'osd set-backfillfull-ratio', ratio: 0.6 })
    await told.command({ prefix: 'osd set-full-ratio', ratio: 0.7 })
    const { data } = await told.command({ prefix: 'osd dump' })
    expect(data).toMatchObject({ nearfullRatio: 0.5, backfillfullRatio: 0.6, fullRatio: 0.7 })
  })
})

describe('quotas', () => {
  it('are refused where they make no sense, and shown', async () => {
    const told = await new Told(6).found()
    const set = (field: string, val: unknown) => told.command({ prefix: 'osd pool set-quota', pool: 'p', field, val })
    await expect(set('max_bytes', '-1')).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(set('max_bytes', 'much')).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(set('max_things', 1)).rejects.toMatchObject({ code: 'EINVAL' })
    await set('max_bytes', '2GiB')
    await set('max_objects', '5')
    const shown = (await told.command({ prefix: 'osd pool get-quota', pool: 'p' })).data
    expect(shown).toEqual({ name: 'p', maxBytes: 2 * gibibyte, maxObjects: 5, bytes: 0, objects: 0 })
    expect((await told.command({ prefix: 'osd pool get', pool: 'p' })).data).not.toHaveProperty('quota_max_bytes')
  })

  it('are refused while an OSD does not keep them; afterwards such an OSD may not boot', async () => {
    const old = await new Told(7).found(0)
    const set = { prefix: 'osd pool set-quota', pool: 'p', field: 'max_objects', val: 5 }
    await expect(old.command(set)).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    const told = await new Told(8).found()
    await told.command(set)
    const late = { ...bootOf(3, 1, 'host-3'), features: 0 }
    await expect(told.mons.settle(told.client.boot(late))).rejects.toMatchObject({ code: 'EPERM' })
    await told.command({ ...set, val: 0 })
    await told.mons.settle(told.client.boot(late))
    expect(poolQuotaOf([...(told.client.osdMap?.pools.values() ?? [])][0])).toBeUndefined()
  })
})
