/** Locks and fences between real processes: who lost its lock by force does no harm any more. */
import { describe, expect, test } from 'vitest'
import type { CommandContext } from '../../cli/src/context.ts'
import type { TestCluster } from './support/cluster.ts'
import { clusterWithClient } from './support/cluster-with-client.ts'

let cluster: TestCluster
let context: CommandContext

clusterWithClient((started) => {
  cluster = started.cluster
  context = started.context
})

interface Lock {
  readonly holders: readonly { readonly client: number; readonly description: string }[]
}

describe('a client that holds a lock', () => {
  test('excludes others, and is fenced before its lock is broken', async () => {
    const holder = await context.client()
    const pool = holder.pool('objects')
    await pool.writeFull('header', Buffer.from('first'))
    await pool.lock('header', 'owner', { description: 'the old owner' })

    const refused = await cluster.run('object', 'lock', 'get', 'header', 'owner')
    expect(refused).toMatchObject({ code: 16, stderr: expect.stringContaining(`client.${holder.session}`) })
    const [lock] = await cluster.json<readonly Lock[]>('object', 'lock', 'info', 'header', 'owner')
    expect(lock?.holders).toMatchObject([{ client: holder.session, description: 'the old owner' }])

    await cluster.ok('object', 'lock', 'break', 'header', 'owner', `client.${holder.session}`, '--fence', '600')
    for (const name of ['header', 'a', 'b', 'c', 'd', 'e', 'f']) {
      await expect(pool.writeFull(name, Buffer.from('late'))).rejects.toMatchObject({ code: 'ESHUTDOWN' })
    }
    await cluster.ok('object', 'lock', 'get', 'header', 'owner', '--lock-description', 'the new owner')
    expect(await cluster.json('osd', 'blocklist', 'ls')).toMatchObject([{ session: String(holder.session) }])

    await cluster.ok('osd', 'blocklist', 'rm', `client.${holder.session}`)
    await cluster.until('the session is let in again', async () => {
      const bytes = await pool.read('header', 0, 100).catch(() => undefined)
      return bytes !== undefined && Buffer.from(bytes).toString() === 'first'
    })
    const guarded = [
      { kind: 'assert-locked', name: 'owner', mode: 'exclusive', cookie: '', tag: '' },
      { kind: 'write-full', data: Buffer.from('late') },
    ] as const
    await expect(pool.execute('header', guarded)).rejects.toMatchObject({ code: 'EBUSY' })
  }, 120_000)

  test('keeps it through the death of every OSD in turn', async () => {
    const holder = await context.client()
    const pool = holder.pool('objects')
    await pool.lock('kept', 'owner', { durationMs: 3_600_000 })
    for (const name of ['osd.0', 'osd.1', 'osd.2']) {
      const { pid } = await cluster.daemon(name)
      process.kill(pid, 'SIGKILL')
      expect(await cluster.run('object', 'lock', 'get', 'kept', 'owner')).toMatchObject({ code: 16 })
      await cluster.untilHealthy()
    }
    await pool.unlock('kept', 'owner')
    await cluster.ok('object', 'lock', 'get', 'kept', 'owner')
  }, 240_000)
})
