/** The steps of a change of pg_num follow the reports that allow them, not the leader's clock. */
import type { PgId } from '@shoal/base'
import { osdFeatures, PlacementCache, type Pool, pendingMerge, pgIdsOf } from '@shoal/cluster-map'
import { expect, it } from 'vitest'
import { Told } from './support/told-cluster.ts'
import { osdStatsOf, pgStatsOf } from './support/told-stats.ts'

const tickMs = 1_000

it('merges go on with each report that says that the two are ready, or whole again', async () => {
  const told = await new Told(7).found(osdFeatures)
  const { client, mons } = told
  await told.command({ prefix: 'osd pool create', pool: 'q', pg_num: 16 })
  let sequence = 0
  const poolNow = (): Pool => [...(client.osdMap?.pools.values() ?? [])].find(({ name }) => name === 'q') as Pool
  /** What primaries say at once when they have the newest map. */
  const report = async (): Promise<void> => {
    const map = client.osdMap as NonNullable<typeof client.osdMap>
    const pending = pendingMerge(poolNow())
    const placement = new PlacementCache(map)
    const stats = (id: PgId) => {
      const premerge = id === pending?.source || id === pending?.target
      const states = premerge ? (['active', 'clean', 'premerge'] as const) : (['active', 'clean'] as const)
      return pgStatsOf(id, ++sequence, { states, reportedEpoch: map.epoch, ...placement.mapping(id) })
    }
    client.reportStats({ osd: osdStatsOf(0), incarnation: 1, epoch: map.epoch, pgs: pgIdsOf(poolNow()).map(stats) })
    await mons.world.time.advance(50)
  }
  await mons.world.time.advance(tickMs)
  await report()
  const fromMs = mons.world.time.nowMs
  await told.command({ prefix: 'osd pool set', pool: 'q', var: 'pg_num', val: 1 })
  let reports = 0
  for (; poolNow().pgNum > 1 && reports < 1_000; reports++) await report()
  expect(poolNow()).toMatchObject({ pgNum: 1, pgpNum: 1 })
  // Virtual time. Two steps for each of fifteen merges: by the clock alone they take as many ticks.
  expect(mons.world.time.nowMs - fromMs).toBeLessThan((30 * tickMs) / 3)
})
