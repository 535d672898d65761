/** A store that lost acknowledged writes: the OSD must not pass for one that has them. */
import type { OsdId } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { bytesOf, damageJournal, MiniCluster } from './support/mini-cluster.ts'

describe('a damaged journal', () => {
  it('costs nothing while other copies are there: every object is compared and mended', async () => {
    const cluster = await MiniCluster.create(31, 3)
    const pool = await cluster.pool('things', 4, 3, 2)
    const things = await cluster.client('things')
    for (let i = 0; i < 30; i++) await cluster.put(things, `thing-${i}`, bytesOf(i, 5_000))
    cluster.kill(1)
    await damageJournal(cluster, 1, bytesOf(10, 5_000))
    await cluster.start(1)
    expect(cluster.log.entries.some(({ message }) => message.includes('the journal was damaged'))).toBe(true)
    await cluster.untilClean(pool)
    // The mended copy alone, and after another restart: it is trusted again.
    await cluster.stop(1)
    await cluster.start(1)
    await cluster.untilClean(pool)
    cluster.kill(0)
    for (let i = 0; i < 30; i++) expect(await cluster.get(things, `thing-${i}`)).toEqual(bytesOf(i, 5_000))
  })

  it('costs nothing either when the copy was behind, and what it missed was written again since', async () => {
    const cluster = await MiniCluster.create(33, 3)
    const pool = await cluster.pool('things', 1, 3, 2)
    const things = await cluster.client('things')
    const putAll = async (generation: number): Promise<void> => {
      for (let i = 0; i < 8; i++) await cluster.put(things, `thing-${i}`, bytesOf(10 * generation + i, 5_000))
    }
    const victim = 2 as OsdId
    const isDown = (): boolean => cluster.monitors.map.osds.get(victim)?.up === false
    await putAll(1)
    cluster.kill(victim)
    await cluster.until(isDown)
    await putAll(2)
    // Back, with the newest log and the old objects.
    cluster.monitors.setFlags('norecover')
    await cluster.start(victim)
    await cluster.until(() => cluster.monitors.allPgs(pool, 'active', 'degraded', 'recovery_wait'))
    for (let i = 0; i < 4; i++) await cluster.put(things, `other-${i}`, bytesOf(100 + i, 5_000))
    cluster.kill(victim)
    await cluster.until(isDown)
    await putAll(3)
    await damageJournal(cluster, victim, bytesOf(101, 5_000))
    cluster.monitors.setFlags()
    await cluster.start(victim)
    await cluster.untilClean(pool)
    cluster.kill(0)
    for (let i = 0; i < 8; i++) expect(await cluster.get(things, `thing-${i}`)).toEqual(bytesOf(30 + i, 5_000))
  })

  it('is never covered up: with no copy that has the lost write, the older state is not served', async () => {
    const cluster = await MiniCluster.create(32, 2)
    const pool = await cluster.pool('things', 1, 2, 1)
    const things = await cluster.client('things')
    await cluster.put(things, 'thing', bytesOf(1, 5_000))
    cluster.kill(1)
    await cluster.until(() => cluster.monitors.map.osds.get(1 as OsdId)?.up === false)
    // Only osd.0 has what is acknowledged from here on.
    for (let i = 2; i < 10; i++) await cluster.put(things, 'thing', bytesOf(i, 5_000))
    cluster.kill(0)
    await damageJournal(cluster, 0, bytesOf(3, 5_000))
    await cluster.start(0)
    await cluster.start(1)
    await cluster.until(() => cluster.monitors.allPgs(pool, 'incomplete'))
    await cluster.world.time.advance(20_000)
    expect(cluster.monitors.allPgs(pool, 'incomplete')).toBe(true)
  })
})
