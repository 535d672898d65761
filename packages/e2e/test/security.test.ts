/** The key of a cluster on real processes: with it everything works, sealed too; without it, or with another, nothing does. */
import { randomBytes } from 'node:crypto'
import { chmod, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Outcome, TestCluster } from './support/cluster.ts'

let cluster: TestCluster
let keyring = ''

// On a loopback address of its own: of two clusters that look for free ports at once, one would talk to the other's
// monitors, and be refused for its key, which is another thing to test.
beforeAll(async () => {
  const host = `127.${1 + (process.pid % 250)}.${Math.floor(process.pid / 250) % 250}.2`
  cluster = await TestCluster.create([
    '--bind',
    host,
    '--osds',
    '2',
    '--mons',
    '1',
    '--size',
    '2',
    '--ms-mode',
    'secure',
  ])
  keyring = join(cluster.directory, 'keyring')
}, 120_000)
afterAll(() => cluster.destroy(), 60_000)

async function put(name: string, ...options: readonly string[]): Promise<Outcome> {
  const file = join(cluster.directory, 'put.tmp')
  await writeFile(file, name)
  return cluster.run(...options, 'object', 'put', name, file)
}

/** The cluster's description with some settings replaced or, by undefined, removed. */
async function describeCluster(change: Readonly<Record<string, unknown>>): Promise<void> {
  const path = join(cluster.directory, 'cluster.json')
  const before = JSON.parse(await readFile(path, 'utf8')) as object
  await writeFile(path, JSON.stringify({ ...before, ...change }))
}

async function messengerCounters(osd: string): Promise<Readonly<Record<string, number>>> {
  const { messenger } = await cluster.json<{ messenger: Record<string, number> }>('daemon', 'perf', osd)
  return messenger
}

describe('a new cluster', () => {
  test('has a key that only its owner reads, and is sealed if that was asked for', async () => {
    expect((await stat(keyring)).mode & 0o777).toBe(0o600)
    expect(await put('sealed')).toMatchObject({ code: 0, stderr: '' })
    expect(await cluster.ok('object', 'get', 'sealed', '-')).toBe('sealed')
    const insisting = await put('plain', '--ms-mode', 'crc')
    expect(insisting.code).toBe(13)
    expect(insisting.stderr).toMatch(/accepts mode secure, this side crc\n.*ms_mode/)
  })

  test('lets nobody in without its key, says so at once, and counts it', async () => {
    const [monitor] = (await cluster.daemons()).filter((daemon) => daemon.kind === 'mon')
    const elsewhere = await cluster.run(
      '--monitors',
      monitor?.address ?? '',
      '--ms-auth',
      'none',
      '--ms-mode',
      'crc',
      'object',
      'get',
      'sealed',
      '-',
    )
    expect(elsewhere.code).toBe(13)
    expect(elsewhere.stderr).toMatch(/accepts authentication secret, this side none\n.*--keyring/)
    const other = join(cluster.directory, 'other-keyring')
    await writeFile(other, `key = ${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
    const wrong = await put('wrong', '--keyring', other)
    expect(wrong.code).toBe(13)
    expect(wrong.stderr).toContain('does not prove that it knows the key of this cluster')
    const refused = await Promise.all(['osd.0', 'osd.1'].map(messengerCounters))
    expect(refused.reduce((sum, counters) => sum + (counters['authenticationsRefused'] ?? 0), 0)).toBeGreaterThan(1)
  }, 60_000)

  test('its key is not read from a file that everybody can read', async () => {
    await chmod(keyring, 0o644)
    const { code, stderr } = await put('open')
    await chmod(keyring, 0o600)
    expect([code, stderr]).toEqual([13, expect.stringContaining(`chmod 600 ${keyring}`)])
  })

  test('does not start without it', async () => {
    await cluster.stop()
    await rename(keyring, `${keyring}.away`)
    await expect(cluster.start()).rejects.toThrow('authentication by secret needs the key of the cluster')
    await rename(`${keyring}.away`, keyring)
  }, 60_000)
})

describe('a directory of an earlier version', () => {
  test('goes on with no key, until it is given one', async () => {
    await rm(keyring)
    await describeCluster({ ms_auth: undefined, ms_mode: undefined })
    await cluster.start([])
    expect(await put('unproven')).toMatchObject({ code: 0 })
    expect(await cluster.run('auth', 'create')).toMatchObject({ code: 16 })
    await cluster.stop()
    await cluster.ok('auth', 'create')
    expect(await cluster.run('auth', 'create')).toMatchObject({ code: 17 })
    await describeCluster({ ms_mode: 'crc secure' })
    await cluster.start([])
    for (const mode of ['crc', 'secure']) expect(await put(mode, '--ms-mode', mode)).toMatchObject({ code: 0 })
    expect(await cluster.ok('object', 'get', 'unproven', '-')).toBe('unproven')
    expect((await put('strange', '--ms-auth', 'none')).code).toBe(13)
  }, 180_000)
})
