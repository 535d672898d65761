/** A daemon that ends by a bug on a real cluster: it is started again, and its report reaches the monitors. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestCluster } from './support/cluster.ts'

interface Crash {
  readonly id: string
  readonly entity: string
  readonly reason: string
  readonly stack: string
}

let cluster: TestCluster
beforeAll(async () => {
  cluster = await TestCluster.create()
}, 120_000)
afterAll(() => cluster.destroy(), 60_000)

const crashes = () => cluster.json<readonly Crash[]>('crash', 'ls')
const codes = async () => (await cluster.health()).checks.map((check) => check.code)

async function crash(daemon: string, how: string): Promise<void> {
  await cluster.ok('config', 'set', daemon, 'debug_asok_assert_abort', 'true')
  const { pid } = await cluster.daemon(daemon)
  await cluster.until('it may', async () => (await cluster.run('tell', daemon, how)).code === 0)
  await cluster.until(`${daemon} runs again`, async () => {
    const now = await cluster.daemon(daemon)
    return now.state === 'running' && now.pid !== pid
  })
}

describe('a crash', () => {
  test('of an OSD and of a monitor is reported, with the events before it', async () => {
    expect((await cluster.run('tell', 'osd.1', 'assert')).stderr).toContain('EPERM')
    await crash('osd.1', 'assert')
    await crash('mon.a', 'abort')
    await cluster.until('both are known', async () => (await crashes()).length === 2)
    const [first, second] = (await crashes()) as readonly [Crash, Crash]
    expect([first.entity, second.entity]).toEqual(['osd.1', 'mon.a'])
    expect(second.reason).toBe('an operator asked for it')
    const { reason, stack } = await cluster.json<Crash>('crash', 'info', first.id)
    expect(reason).toBe('uncaught exception')
    expect(stack).toMatch(/an operator asked for it[\s\S]*crash-handlers/)
    const directory = join(cluster.directory, 'crash')
    await cluster.until('they are set aside', async () => (await readdir(join(directory, 'posted'))).length === 2)
    expect(await readdir(directory)).toEqual(['posted'])
    const events = (await readFile(join(directory, 'posted', first.id, 'log'), 'utf8')).trim().split('\n')
    expect(JSON.parse(events.at(-1) ?? '')).toMatchObject({ level: 'error', message: 'aborting' })
    expect(events.some((line) => line.includes('osd starts'))).toBe(true)
  }, 180_000)

  test('warns until somebody has seen it', async () => {
    const history = async () => {
      const rows = await cluster.json<readonly { event: string }[]>('health', 'history', '--code', 'RECENT_CRASH')
      return rows.map((row) => row.event).join(' ')
    }
    expect(await codes()).toContain('RECENT_CRASH')
    // A monitor that has just begun to lead tells of it a while later.
    await cluster.until('the history tells that it failed', async () => (await history()) === 'failed')
    expect(await cluster.ok('health', 'detail')).toMatch(/osd\.1 crashed on .* uncaught exception/)
    await cluster.ok('health', 'mute', 'RECENT_CRASH', '1h')
    await cluster.until('all is well but for that', async () =>
      (await cluster.ok('health')).includes('(muted: RECENT_CRASH)'),
    )
    await cluster.ok('health', 'unmute', 'RECENT_CRASH')
    await cluster.ok('crash', 'archive-all')
    expect(await codes()).not.toContain('RECENT_CRASH')
    await cluster.until('the history tells of it', async () => (await history()) === 'failed muted unmuted cleared')
  }, 120_000)
})

test('what is written of a subsystem, and what is kept in memory, changes while a daemon runs', async () => {
  const written = async (word: string) =>
    (await readFile(join(cluster.directory, 'log', 'osd.0.log'), 'utf8')).includes(word)
  const kept = async (word: string) =>
    JSON.stringify(await cluster.json('tell', 'osd.0', 'log', 'recent')).includes(word)
  const backfills = async (value: string) => {
    await cluster.ok('config', 'set', 'osd.0', 'osd_max_backfills', value)
    await cluster.until('osd.0 goes by it', async () =>
      (await cluster.ok('config', 'show', 'osd.0', 'osd_max_backfills')).includes(value),
    )
  }
  await backfills('11')
  expect(await written('"osd_max_backfills":11')).toBe(true)
  await cluster.ok('config', 'set', 'osd.0', 'debug_osd', '0/20')
  await backfills('12')
  expect(await written('"osd_max_backfills":12')).toBe(false)
  expect(await kept('"osd_max_backfills":12')).toBe(true)
  await cluster.ok('config', 'set', 'osd.0', 'debug_osd', '0/0')
  await backfills('13')
  expect(await kept('"osd_max_backfills":13')).toBe(false)
  await cluster.ok('config', 'rm', 'osd.0', 'debug_osd')
  await backfills('14')
  expect(await written('"osd_max_backfills":14')).toBe(true)
}, 120_000)
