/**
 * Encrypted stores in real processes: nothing to be found on the disk, keys with the monitors, and a backup of them, with
 * which monitors that are all lost are rebuilt.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestCluster } from './support/cluster.ts'

let cluster: TestCluster
let folder: string

beforeAll(async () => {
  cluster = await TestCluster.create(['--encrypt'])
  folder = await mkdtemp(join(tmpdir(), 'shoal-e2e-'))
}, 120_000)
afterAll(async () => {
  await cluster.destroy()
  await rm(folder, { recursive: true, force: true })
}, 60_000)

const name = 'the-name-of-an-object'
const words = 'words-that-nobody-may-find-'
const content = Buffer.from(words.repeat(60_000))

/** Files of all OSDs that contain the text. */
async function filesWith(text: string): Promise<readonly string[]> {
  const found: string[] = []
  for (const id of [0, 1, 2]) {
    const { stdout, status } = spawnSync('grep', ['-rlF', text, join(cluster.directory, `osd.${id}`)], {
      encoding: 'utf8',
    })
    expect(status).toBeLessThan(2)
    found.push(...stdout.split('\n').filter((line) => line !== ''))
  }
  return found
}

test('what is stored cannot be found, comes back after kill -9, and needs its key', async () => {
  const hash = await cluster.put(name, content)
  for (const id of ['osd.0', 'osd.1', 'osd.2']) process.kill((await cluster.daemon(id)).pid, 'SIGKILL')
  await cluster.untilHealthy()
  expect(await cluster.hashOf(name)).toBe(hash)
  expect(await filesWith(words)).toEqual([])
  expect(await filesWith(name)).toEqual([])

  const secret = join(folder, 'passphrase')
  await writeFile(secret, 'a long passphrase\n')
  const backup = join(folder, 'keys')
  await cluster.ok('osd', 'key', 'backup', backup, '--passphrase-file', secret)
  expect(await cluster.run('osd', 'key', 'backup', backup, '--passphrase-file', secret)).toMatchObject({ code: 17 })
  const keys = (await cluster.json<readonly string[]>('config-key', 'ls')).filter((key) => key.startsWith('dm-crypt/'))
  expect(keys).toHaveLength(3)

  // Fsck of a store that does not run, with the key of the monitors and with that of the backup.
  await cluster.ok('osd', 'set', 'noout')
  await cluster.ok('daemon', 'stop', 'osd.0')
  const fsck = await cluster.json<{ readonly findings: readonly unknown[]; readonly objects: number }>(
    ...['fsck', 'osd.0', '--deep'],
  )
  expect(fsck.findings).toEqual([])
  expect(fsck.objects).toBeGreaterThan(0)
  await cluster.ok('fsck', 'osd.0', '--key-backup', backup, '--passphrase-file', secret)
  await writeFile(join(folder, 'wrong'), 'another passphrase')
  expect(
    await cluster.run('fsck', 'osd.0', '--key-backup', backup, '--passphrase-file', join(folder, 'wrong')),
  ).toMatchObject({ code: 13, stderr: expect.stringContaining('passphrase') })

  // The monitors lose the keys: the store stays closed, with a reason, until they have them again.
  for (const key of keys) await cluster.ok('config-key', 'rm', key)
  expect(await cluster.run('fsck', 'osd.0')).toMatchObject({ code: 13, stderr: expect.stringContaining('no key') })
  await cluster.run('daemon', 'start', 'osd.0')
  await cluster.until('osd.0 says why it does not start', async () => {
    const log = await readFile(join(cluster.directory, 'log', 'osd.0.log'), 'utf8')
    return log.includes('no key for the encrypted store')
  })
  await cluster.ok('osd', 'key', 'restore', backup, '--passphrase-file', secret)
  await cluster.run('daemon', 'start', 'osd.0')
  await cluster.ok('osd', 'unset', 'noout')
  await cluster.untilHealthy()
  expect(await cluster.hashOf(name)).toBe(hash)

  // Every monitor is lost, and the keyring too: the backup of keys opens the stores, and the monitors are made anew of them.
  const more = await cluster.put('written-before-the-loss', content.subarray(0, 70_000))
  await cluster.powerCut()
  for (const lost of ['mon.a', 'mon.b', 'mon.c', 'keyring'])
    await rm(join(cluster.directory, lost), { recursive: true })
  expect(await cluster.run('mon', 'rebuild')).toMatchObject({
    code: 13,
    stderr: expect.stringMatching(/osd\.0 is encrypted[^]*--key-backup FILE/),
  })
  expect(await cluster.run('mon', 'rebuild', '--key-backup', backup)).toMatchObject({
    code: 22,
    stderr: expect.stringContaining('--passphrase-file'),
  })
  expect(existsSync(join(cluster.directory, 'mon.a'))).toBe(false)
  const withKeys = ['--key-backup', backup, '--passphrase-file', secret]
  expect(await cluster.json('mon', 'rebuild', ...withKeys)).toMatchObject({
    storeKeys: [0, 1, 2],
    missing: [],
    unreadable: [],
    keyring: 'restored',
  })
  await cluster.start()
  expect(await cluster.hashOf(name)).toBe(hash)
  expect(await cluster.hashOf('written-before-the-loss')).toBe(more)
}, 600_000)
