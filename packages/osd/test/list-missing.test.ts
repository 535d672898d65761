/** A primary that has yet to recover objects names them in lists. */
import { pgId } from '@shoal/base'
import { expect, it } from 'vitest'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'

it('lists objects that it does not have yet', async () => {
  const cluster = await MiniCluster.create(3, 3)
  const pool = await cluster.pool('things', 1, 3, 2)
  const things = await cluster.client('things')
  const primary = cluster.monitors.pgStats.get(pgId(pool, 0))?.actingPrimary ?? 0
  cluster.kill(primary)
  const names = Array.from({ length: 12 }, (_, i) => `thing-${i}`)
  for (const name of names) await cluster.put(things, name, bytesOf(1, 100))
  cluster.monitors.setFlags('norecover')
  await cluster.start(primary)
  await cluster.until(() => cluster.daemons[primary]?.isUp === true)
  await cluster.until(() => cluster.monitors.pgStats.get(pgId(pool, 0))?.actingPrimary === primary)
  const found: string[] = []
  await cluster.run(
    (async () => {
      for await (const name of things.list()) found.push(name)
    })(),
  )
  expect(found.sort()).toEqual(names.sort())
})
