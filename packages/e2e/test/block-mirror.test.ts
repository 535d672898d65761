/** Two clusters of real processes that mirror an image: copied, killed on the way, handed over and back, parted and mended. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { sha, shoal, TestCluster } from './support/cluster.ts'

/** Roles wait for header leases, and a machine may have much else to do. */
vi.setConfig({ testTimeout: 600_000 })

const imageBytes = 24 * 1024 * 1024
let a: TestCluster
let b: TestCluster
let directory: string
let copier: ChildProcess | undefined

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'shoal-mirror-'))
  a = await TestCluster.create(['--osds', '1'])
  b = await TestCluster.create(['--osds', '1'])
})

afterAll(async () => {
  copier?.kill('SIGKILL')
  await b?.destroy()
  await a?.destroy()
  await rm(directory, { recursive: true, force: true })
})

async function befriend(cluster: TestCluster, other: TestCluster, name: string): Promise<void> {
  const { monitors } = JSON.parse(await readFile(join(other.directory, 'cluster.json'), 'utf8')) as {
    readonly monitors: readonly { readonly address: string }[]
  }
  const addresses = monitors.map(({ address }) => address).join(',')
  const keyring = ['--peer-keyring', join(other.directory, 'keyring')]
  await cluster.ok('block', 'mirror', 'peer', 'add', name, '--peer-monitors', addresses, ...keyring)
}

/** Of the image as people see it there. */
async function hash(cluster: TestCluster): Promise<string> {
  const file = join(directory, 'exported')
  await rm(file, { force: true })
  await cluster.ok('block', 'export', 'disk', file)
  return sha(await readFile(file))
}

const copy = (to: TestCluster): Promise<string> => to.ok('block', 'mirror', 'serve', '--once')

async function state(cluster: TestCluster): Promise<string> {
  const [row] = await cluster.json<readonly { readonly state: string }[]>('block', 'mirror', 'status')
  return row?.state ?? 'none'
}

/** A diff of one record, as `rbd export-diff` would make it of an image whose head was written. */
async function write(cluster: TestCluster, offset: number, data: Uint8Array): Promise<void> {
  const record = Buffer.alloc(12 + 9 + 17)
  record.write('rbd diff v1\ns')
  record.writeBigUInt64LE(BigInt(imageBytes), 13)
  record.write('w', 21)
  record.writeBigUInt64LE(BigInt(offset), 22)
  record.writeBigUInt64LE(BigInt(data.length), 30)
  const file = join(directory, 'change.diff')
  await writeFile(file, Buffer.concat([record, data, Buffer.from('e')]))
  await cluster.ok('block', 'import-diff', '--force', file, 'disk')
}

test('an image is copied, though the copier is killed on the way, and follows', async () => {
  const raw = join(directory, 'raw')
  await writeFile(raw, randomBytes(imageBytes))
  await a.ok('block', 'import', raw, 'disk')
  await a.ok('block', 'mirror', 'enable', 'disk')
  await befriend(b, a, 'first')
  await befriend(a, b, 'second')
  copier = spawn(shoal, ['--data', b.directory, 'block', 'mirror', 'serve', '--rate', '4M'], { stdio: 'ignore' })
  const ended = once(copier, 'exit')
  // Its data is on the way: the copy is there, and nothing of it complete.
  await b.until('the copy is there', async () => (await b.run('block', 'info', 'disk')).code === 0)
  expect((await b.run('block', 'export', 'disk', join(directory, 'early'))).stderr).toContain('EAGAIN')
  copier.kill('SIGKILL')
  await ended
  await copy(b)
  expect(await state(b)).toBe('synced')
  expect(await hash(b)).toBe(await hash(a))
  await write(a, 5_000_000, randomBytes(70_000))
  await a.ok('block', 'mirror', 'snapshot', 'disk')
  await copy(b)
  expect(await hash(b)).toBe(await hash(a))
  expect((await b.run('block', 'resize', 'disk', '--size', '48M')).stderr).toContain('EROFS')
})

test('the primary goes to the other cluster and comes back, without loss', async () => {
  await write(a, 100, randomBytes(5000))
  await a.ok('block', 'mirror', 'demote', 'disk')
  expect((await b.run('block', 'mirror', 'promote', 'disk')).stderr).toContain('EBUSY')
  await copy(b)
  await b.ok('block', 'mirror', 'promote', 'disk')
  expect(await hash(b)).toBe(await hash(a))
  await write(b, 9_000_000, randomBytes(5000))
  await b.ok('block', 'mirror', 'snapshot', 'disk')
  await copy(a)
  expect(await hash(a)).toBe(await hash(b))
})

test('two primaries are told; the one that gives in is copied anew', async () => {
  await a.ok('block', 'mirror', 'promote', '--force', 'disk')
  await write(a, 0, randomBytes(100))
  await copy(a)
  expect(await state(a)).toBe('split-brain')
  await a.ok('block', 'mirror', 'demote', 'disk')
  await copy(a)
  expect(await state(a)).toBe('diverged')
  await a.ok('block', 'mirror', 'resync', 'disk')
  await copy(a)
  expect(await state(a)).toBe('synced')
  expect(await hash(a)).toBe(await hash(b))
})
