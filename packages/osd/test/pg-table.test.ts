/** Which placement group of this OSD an operation goes to. */
import { must, osdId, type PgId, pgId, shardPgId } from '@shoal/base'
import { PlacementCache } from '@shoal/cluster-map'
import { makeSimEnv } from '@shoal/testkit'
import { expect, it } from 'vitest'
import { PgTable } from '../src/pg-table.ts'
import { FakeMonitors } from './support/fake-monitors.ts'

it('operations on an erasure-coded group find the shard that its OSD has in the map of now', () => {
  const { env } = makeSimEnv({ seed: 1 })
  const monitors = new FakeMonitors(env, 3)
  for (let id = 0; id < 3; id++) monitors.register(osdId(id), `uuid-${id}`)
  for (let id = 0; id < 3; id++) monitors.setOsd(osdId(id), { up: true, incarnation: 1 })
  const id = pgId(monitors.createPool('things', 1, 3, 2, ['k=2', 'm=1', 'stripe_unit=4096']), 0)
  const { acting } = new PlacementCache(monitors.map).mapping(id)
  expect(new Set(acting).size).toBe(3)
  const whoami = must(acting[0], 'a primary')
  const table = new PgTable({
    whoami,
    // A machine that wants nothing needs no services.
    services: {} as never,
    createMachine: () => ({ step: () => [], query: () => ({}), inconsistent: () => ({}), freeze: () => undefined }),
    onIntervalsEnded: () => {},
    onNotPrimary: () => {},
  })
  const found = (): PgId | undefined => table.find(id)?.pgId
  expect(found()).toBeUndefined()
  table.onMap(monitors.map, false)
  for (let again = 0; again < 2; again++) expect(found()).toBe(shardPgId(id, 0))
  for (const place of [2, 1, 0]) {
    const moved = [...acting]
    moved.splice(0, 1)
    moved.splice(place, 0, whoami)
    monitors.change({ pgTemp: new Map([[id, moved]]), primaryTemp: new Map([[id, whoami]]) })
    table.onMap(monitors.map, false)
    for (let again = 0; again < 2; again++) expect(found()).toBe(shardPgId(id, place))
  }
  monitors.removePool(1 as never)
  table.onMap(monitors.map, false)
  expect(found()).toBeUndefined()
})
