/** Snapshots on real processes: what was there is there, whatever is written, and whoever dies, afterwards. */
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { CommandContext } from '../../cli/src/context.ts'
import { sha, type TestCluster } from './support/cluster.ts'
import { clusterWithClient } from './support/cluster-with-client.ts'

const objectBytes = 256 * 1024
const overwrites = 1_000
const underWay = 16

let cluster: TestCluster
let context: CommandContext

clusterWithClient((started) => {
  cluster = started.cluster
  context = started.context
})

interface Clones {
  readonly clones: readonly { readonly id: number; readonly snaps: readonly number[] }[]
}

describe('a snapshot of a pool', () => {
  test('is read back equal after 1,000 overwrites, an OSD killed and recovered in between', async () => {
    const pool = (await context.client()).pool('objects')
    const names = ['a', 'b', 'c', 'd']
    const before = new Map<string, string>()
    for (const name of names) {
      const bytes = randomBytes(objectBytes)
      await pool.writeFull(name, bytes)
      before.set(name, sha(bytes))
    }
    await cluster.ok('pool', 'mksnap', 'objects', 'monday')
    // Its own map may be older than the command's.
    const snap = await pool.snapshotId('monday')
    const { pid } = await cluster.daemon('osd.1')
    let written = 0
    const write = async (lane: number): Promise<void> => {
      for (let i = lane; i < overwrites; i += underWay) {
        const bytes = randomBytes(4_096 + 512 * (i % 9))
        await pool.write(names[i % names.length] as string, (i * 7_919) % (objectBytes - bytes.length), bytes)
        if (++written === overwrites / 4) process.kill(pid, 'SIGKILL')
      }
    }
    await Promise.all(Array.from({ length: underWay }, (_, lane) => write(lane)))
    await cluster.untilHealthy()
    expect(written).toBe(overwrites)
    for (const [name, hash] of before) {
      expect(await cluster.hashOf(name, '--snap', 'monday')).toBe(hash)
      expect(sha(await pool.at(snap).read(name, 0, objectBytes))).toBe(hash)
      expect(await cluster.hashOf(name)).not.toBe(hash)
      expect((await cluster.json<Clones>('object', 'listsnaps', name)).clones).toMatchObject([
        { id: snap, snaps: [snap] },
      ])
    }
    await cluster.ok('object', 'rm', 'd')
    expect(await cluster.json('object', 'ls')).toEqual(expect.not.arrayContaining(['d']))
    expect(await cluster.json('object', 'ls', '--snap', 'monday')).toEqual(expect.arrayContaining(names))
    await cluster.ok('object', 'rollback', 'd', 'monday')
    await cluster.ok('object', 'rollback', 'a', 'monday')
    for (const name of ['a', 'd']) expect(await cluster.hashOf(name)).toBe(before.get(name))
  }, 360_000)

  test('is removed with everything that only it needed', async () => {
    expect(await cluster.json('pool', 'lssnap', 'objects')).toMatchObject([{ name: 'monday' }])
    await cluster.ok('pool', 'rmsnap', 'objects', 'monday')
    expect((await cluster.run('object', 'stat', 'a', '--snap', 'monday')).code).toBe(2)
    await cluster.until('the map shows it as purged', async () => {
      const pools = await cluster.json<readonly { readonly name: string; readonly snapshots?: object }[]>('pool', 'ls')
      const entry = pools.find(({ name }) => name === 'objects')
      return (entry?.snapshots as { readonly trimming: number } | undefined)?.trimming === 0
    })
    for (const name of ['a', 'b', 'c', 'd']) {
      expect((await cluster.json<Clones>('object', 'listsnaps', name)).clones).toEqual([])
    }
  }, 120_000)

  test('excludes snapshots that clients manage, in one pool', async () => {
    const pool = (await context.client()).pool('objects')
    await expect(pool.createSelfManagedSnapshot()).rejects.toMatchObject({ code: 'EINVAL' })
    await cluster.ok('pool', 'create', 'managed', '8')
    const managed = (await context.client()).pool('managed')
    await managed.writeFull('thing', Buffer.from('old'))
    const snap = await managed.createSelfManagedSnapshot()
    await managed.withSnapContext({ seq: snap, snaps: [snap] }).writeFull('thing', Buffer.from('new'))
    const file = join(cluster.directory, 'thing')
    await writeFile(file, '')
    await cluster.ok('object', 'get', 'thing', file, '--pool', 'managed', '--snapid', String(snap))
    expect(await readFile(file, 'utf8')).toBe('old')
    const refused = await cluster.run('pool', 'mksnap', 'managed', 'monday')
    expect(refused).toMatchObject({ code: 22, stderr: expect.stringContaining('clients manage') })
    await managed.removeSelfManagedSnapshot(snap)
    await expect(managed.at(snap).stat('thing')).rejects.toMatchObject({ code: 'ENOENT' })
  }, 120_000)
})
