/** Taking OSDs out of service on real processes: stopped, drained, replaced; and what is lost when one dies too early. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestCluster } from './support/cluster.ts'

let cluster: TestCluster

beforeAll(async () => {
  cluster = await TestCluster.create(['--osds', '4'])
}, 180_000)
afterAll(() => cluster.destroy(), 60_000)

interface Pg {
  readonly pgId: string
  readonly up: readonly number[]
  readonly acting: readonly number[]
  readonly actingPrimary: number
}

async function upSets(): Promise<Record<string, readonly number[]>> {
  return Object.fromEntries((await cluster.json<readonly Pg[]>('pg', 'ls')).map(({ pgId, up }) => [pgId, up]))
}

const isUp = async (id: number): Promise<boolean> =>
  (await cluster.json<readonly { id: number; up: boolean }[]>('osd', 'ls')).find((osd) => osd.id === id)?.up === true

describe('an OSD', () => {
  const hashes = new Map<string, string>()

  test('may be stopped where enough others are', async () => {
    for (let i = 0; i < 12; i++) hashes.set(`kept-${i}`, await cluster.put(`kept-${i}`, randomBytes(100_000)))
    expect(await cluster.ok('osd', 'ok-to-stop', '0')).toContain('may be stopped')
    expect(await cluster.run('osd', 'ok-to-stop', '0', '1', '2')).toMatchObject({ code: 16 })
    expect(await cluster.run('osd', 'safe-to-destroy', '0')).toMatchObject({ code: 16 })
  }, 300_000)

  test('is replaced under its id: nothing else moves', async () => {
    // It moves placement groups for reasons of its own.
    await cluster.ok('balancer', 'off')
    await cluster.untilHealthy()
    const before = await upSets()
    expect(await cluster.run('osd', 'replace', '1')).toMatchObject({ code: 1 })
    await cluster.ok('osd', 'replace', '1', '--yes-i-really-mean-it')
    await cluster.untilHealthy(180_000)
    expect(await upSets()).toEqual(before)
    for (const [name, hash] of hashes) expect(await cluster.hashOf(name)).toBe(hash)
  }, 400_000)

  test('is drained, and may then be destroyed', async () => {
    expect(await cluster.ok('osd', 'drain', '3')).toContain('may be destroyed')
    expect(Object.values(await upSets()).flat()).not.toContain(3)
    await cluster.ok('osd', 'safe-to-destroy', '3')
    for (const [name, hash] of hashes) expect(await cluster.hashOf(name)).toBe(hash)
    await cluster.ok('crush', 'reweight', 'osd.3', '0.004')
    await cluster.untilHealthy(180_000)
  }, 400_000)
})

test("objects whose newest copy died are listed, and reverted by an operator's choice", async () => {
  await cluster.ok('pool', 'create', 'pairs', '1', '--size', '2', '--min-size', '1')
  await cluster.untilHealthy()
  const older = await cluster.put('thing', randomBytes(30_000), '--pool', 'pairs')
  const pg = (await cluster.json<readonly Pg[]>('pg', 'ls', '--pool', 'pairs'))[0] as Pg
  const [lost, left] = pg.acting as readonly [number, number]
  await cluster.ok('daemon', 'stop', `osd.${left}`)
  await cluster.until('it is down', async () => !(await isUp(left)))
  await cluster.ok('osd', 'set', 'norecover')
  const newer = await cluster.put('thing', randomBytes(40_000), '--pool', 'pairs')
  await cluster.ok('daemon', 'start', `osd.${left}`)
  await cluster.until('both serve', async () => {
    const [now] = await cluster.json<readonly (Pg & { state: string })[]>('pg', 'ls', '--pool', 'pairs')
    return now?.acting.length === 2 && now.state.startsWith('active')
  })
  await cluster.ok('daemon', 'stop', `osd.${lost}`)
  await cluster.until('it is down', async () => !(await isUp(lost)))
  await cluster.ok('osd', 'unset', 'norecover')
  await cluster.until('health says so', async () =>
    (await cluster.health()).checks.some(({ code }) => code === 'OBJECT_UNFOUND'),
  )
  expect(await cluster.json('pg', 'list-unfound', pg.pgId)).toMatchObject({
    objects: [{ name: 'thing' }],
    mightBeOn: [lost],
  })
  const revert = ['pg', 'mark-unfound-lost', pg.pgId, 'revert', '--yes-i-really-mean-it'] as const
  expect(await cluster.run(...revert)).toMatchObject({ code: 16, stderr: expect.stringContaining('osd lost') })
  await cluster.ok('osd', 'lost', String(lost), '--yes-i-really-mean-it')
  await cluster.ok(...revert)
  expect(await cluster.hashOf('thing', '--pool', 'pairs')).toBe(older)
  await cluster.ok('daemon', 'start', `osd.${lost}`)
  await cluster.untilHealthy(180_000)
  expect(await cluster.hashOf('thing', '--pool', 'pairs')).toBe(older)
  expect(newer).not.toBe(older)
}, 600_000)
