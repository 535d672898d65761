/** Every monitor's directory is lost: one command, and the cluster is what it was, with every byte. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestCluster } from './support/cluster.ts'

let cluster: TestCluster

beforeAll(async () => {
  cluster = await TestCluster.create()
}, 120_000)
afterAll(() => cluster.destroy(), 60_000)

const hashes = new Map<string, string>()

async function put(name: string, bytes: Uint8Array): Promise<void> {
  hashes.set(name, await cluster.put(name, bytes))
}

async function expectEveryObject(): Promise<void> {
  for (const [name, hash] of hashes) expect(await cluster.hashOf(name)).toBe(hash)
}

const monitors = ['mon.a', 'mon.b', 'mon.c']
const path = (name: string): string => join(cluster.directory, name)

async function loseMonitors(): Promise<void> {
  for (const name of monitors) await rm(path(name), { recursive: true })
}

interface Report {
  readonly completed: boolean
  readonly newestEpoch: number
  readonly epoch: number
  readonly osds: readonly { readonly osd: number; readonly newestEpoch: number; readonly fate: string }[]
  readonly missing: readonly number[]
  readonly moved: readonly string[]
  readonly keyring: string
}

const rebuild = (...options: readonly string[]): Promise<Report> => cluster.json<Report>('mon', 'rebuild', ...options)
const crushTree = (): Promise<unknown> => cluster.json('crush', 'dump')
const pools = (): Promise<readonly { readonly id: number; readonly name: string }[]> => cluster.json('pool', 'ls')

describe('monitors are rebuilt from OSDs', () => {
  test('after all monitor directories and the keyring are lost', async () => {
    for (let i = 0; i < 8; i++) await put(`object-${i}`, randomBytes(30_000))
    await cluster.ok('crush', 'add-bucket', 'shelf', 'rack')
    await cluster.ok('crush', 'reweight', 'osd.1', '0.005')
    await cluster.untilHealthy()
    const before = await pools()
    const tree = await crushTree()
    await cluster.powerCut()
    expect((await cluster.run('mon', 'rebuild')).stderr).toContain('mon.a is whole')
    await loseMonitors()
    const key = await readFile(path('keyring'), 'utf8')
    await rm(path('keyring'))
    const report = await rebuild()
    expect(report).toMatchObject({
      completed: false,
      missing: [],
      keyring: 'restored',
      epoch: report.newestEpoch + 256,
    })
    expect(report.osds.map(({ fate }) => fate)).toEqual(['known', 'known', 'known'])
    expect(await readFile(path('keyring'), 'utf8')).toBe(key)
    expect((await stat(path('keyring'))).mode & 0o077).toBe(0)
    await cluster.start()
    await expectEveryObject()
    expect(await pools()).toMatchObject(before.map(({ id, name }) => ({ id, name })))
    expect(await crushTree()).toEqual(tree)
    await cluster.ok('pool', 'create', 'fresh')
    const fresh = (await pools()).find(({ name }) => name === 'fresh')
    expect(fresh?.id).toBeGreaterThan(Math.max(...before.map(({ id }) => id)) + 256)
  }, 240_000)

  test('with one OSD that was behind, flags set, and a crash between the new directories', async () => {
    await cluster.ok('osd', 'set', 'noout')
    await cluster.ok('daemon', 'stop', 'osd.2')
    for (let i = 0; i < 4; i++) await put(`while-away-${i}`, randomBytes(20_000))
    await put('object-0', randomBytes(5_000))
    await cluster.powerCut()
    await loseMonitors()
    const report = await rebuild()
    const [first, , third] = report.osds
    expect(third?.newestEpoch).toBeLessThan(first?.newestEpoch ?? 0)
    // As a crash leaves it that came after the first monitor was put in place.
    await mkdir(path('mon.rebuild'))
    await writeFile(path('mon.rebuild/complete'), await completeFile())
    for (const name of ['mon.b', 'mon.c']) await rename(path(name), path(`mon.rebuild/${name}`))
    expect(await rebuild()).toMatchObject({ completed: true })
    expect(existsSync(path('mon.rebuild'))).toBe(false)
    await rm(path('run/osd.2.stopped'))
    const started = cluster.start()
    await cluster.until('the flag is seen', async () => (await cluster.run('health')).stdout.includes('noout'))
    await cluster.ok('osd', 'unset', 'noout')
    await started
    await cluster.untilHealthy()
    await expectEveryObject()
  }, 240_000)

  test('a directory of another cluster is refused, a running cluster too', async () => {
    expect((await cluster.run('mon', 'rebuild')).stderr).toContain('still run')
    await cluster.powerCut()
    await loseMonitors()
    const description = await readFile(path('cluster.json'), 'utf8')
    const other = { ...(JSON.parse(description) as object), fsid: '00000000-0000-4000-8000-000000000000' }
    await writeFile(path('cluster.json'), JSON.stringify(other))
    const { code, stderr } = await cluster.run('mon', 'rebuild')
    expect(code).not.toBe(0)
    expect(stderr).toContain('is of cluster')
    expect(existsSync(path('mon.a'))).toBe(false)
    await writeFile(path('cluster.json'), description)
    const report = await rebuild('--from', path('osd.0'), path('osd.1'))
    expect(report.missing).toEqual([2])
    await cluster.start()
    await expectEveryObject()
  }, 240_000)
})

/** Versioned text: what the command writes when all new directories are whole. */
async function completeFile(): Promise<Uint8Array> {
  const { fsid } = JSON.parse(await readFile(path('cluster.json'), 'utf8')) as { readonly fsid: string }
  const text = Buffer.from(fsid)
  const bytes = Buffer.alloc(1 + 1 + 4 + 4 + text.length)
  bytes.writeUInt8(1, 0)
  bytes.writeUInt8(1, 1)
  bytes.writeUInt32LE(4 + text.length, 2)
  bytes.writeUInt32LE(text.length, 6)
  text.copy(bytes, 10)
  return bytes
}
