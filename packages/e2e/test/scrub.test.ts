/** Bytes that flip on one OSD's disk while it runs: a deep scrub finds them all, and mends them. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestCluster } from './support/cluster.ts'
import { damage, putThings, readThings } from './support/damage.ts'

let cluster: TestCluster

beforeAll(async () => {
  cluster = await TestCluster.create()
}, 180_000)
afterAll(() => cluster.destroy(), 60_000)

const victim = 'osd.1'
const objects = 4
const badBlocks = 11

interface PgScrub {
  readonly pgId: string
  readonly state: string
  readonly lastDeepScrubMs: number
  readonly scrubErrors: number
  readonly actingPrimary: number
}

async function pgs(): Promise<readonly PgScrub[]> {
  return cluster.json<readonly PgScrub[]>('pg', 'ls')
}

async function codes(): Promise<readonly string[]> {
  return (await cluster.health()).checks.map(({ code }) => code)
}

test('fifty flipped bytes in data and metadata of a running OSD are found and mended', async () => {
  const things = await putThings(cluster, objects)
  const expected = await readThings(cluster, things)
  // What the journal holds goes to its place; the copy is read from there.
  await cluster.ok('daemon', 'stop', victim)
  await cluster.ok('daemon', 'start', victim)
  await cluster.untilHealthy()
  const flipped = await damage(cluster, victim, things)
  expect(flipped.data).toBe(badBlocks * objects)
  expect(flipped.meta).toBeGreaterThanOrEqual(2 * objects)
  expect(flipped.data + flipped.meta).toBeGreaterThanOrEqual(50)
  const before = Math.max(...(await pgs()).map(({ lastDeepScrubMs }) => lastDeepScrubMs))
  // Found, and not mended yet.
  await cluster.ok('osd', 'set', 'norecover')
  for (const osd of [0, 1, 2]) await cluster.ok('osd', 'deep-scrub', String(osd))
  await cluster.until('damage is told', async () => {
    const found = await codes()
    return found.includes('OSD_SCRUB_ERRORS') && found.includes('PG_DAMAGED')
  })
  const inconsistent = (): Promise<number> =>
    pgs().then(async (rows) => {
      let names = 0
      for (const { pgId, scrubErrors } of rows) {
        if (scrubErrors === 0) continue
        const { inconsistents } = await cluster.json<{ inconsistents: { proven: boolean }[] }>(
          'pg',
          'list-inconsistent',
          pgId,
        )
        names += inconsistents.filter(({ proven }) => proven).length
      }
      return names
    })
  await cluster.until(
    'every damaged object is listed, and its bad copy proven',
    async () => (await inconsistent()) === objects,
  )
  const [bad] = (await pgs()).filter(({ scrubErrors }) => scrubErrors > 0)
  expect(await cluster.ok('pg', 'list-inconsistent', bad?.pgId ?? '')).toContain(`${victim}: `)
  await cluster.ok('osd', 'unset', 'norecover')
  await cluster.until(
    'everything is mended, and looked at again',
    async () =>
      (await pgs()).every(
        ({ state, scrubErrors, lastDeepScrubMs }) =>
          state === 'active+clean' && scrubErrors === 0 && lastDeepScrubMs > before,
      ),
    120_000,
  )
  const left = await codes()
  for (const code of ['OSD_SCRUB_ERRORS', 'PG_DAMAGED', 'OSDMAP_FLAGS']) expect(left).not.toContain(code)
  expect(await readThings(cluster, things)).toEqual(expected)
  // Also where only the mended copies are left to be read first, after a start that reads all of their records.
  await cluster.ok('daemon', 'stop', victim)
  await cluster.ok('daemon', 'start', victim)
  await cluster.until('clean', async () => (await pgs()).every(({ state }) => state === 'active+clean'))
  await cluster.ok('daemon', 'stop', 'osd.0')
  expect(await readThings(cluster, things)).toEqual(expected)
  await cluster.ok('daemon', 'start', 'osd.0')
  await cluster.until('clean', async () => (await pgs()).every(({ state }) => state === 'active+clean'))
}, 600_000)
