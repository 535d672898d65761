/** More placement groups while a writer goes on, on real processes: every object is what was written last, always. */
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { CommandContext } from '../../cli/src/context.ts'
import { sha, type TestCluster } from './support/cluster.ts'
import { clusterWithClient } from './support/cluster-with-client.ts'

let cluster: TestCluster
let context: CommandContext

clusterWithClient((started) => {
  cluster = started.cluster
  context = started.context
})

type PoolHandle = ReturnType<Awaited<ReturnType<CommandContext['client']>>['pool']>

/** Writes objects and reads them back, over and over, until it is stopped. */
class Writer {
  readonly written = new Map<string, string>()
  writes = 0
  private readonly pool: PoolHandle
  private readonly done: Promise<unknown>
  private stopped = false

  constructor(pool: PoolHandle, lanes: number) {
    this.pool = pool
    this.done = Promise.all(Array.from({ length: lanes }, (_, lane) => this.run(lane)))
  }

  private async run(lane: number): Promise<void> {
    for (let round = 0; !this.stopped; round++) {
      const name = `lane-${lane}-${round % 40}`
      const bytes = randomBytes(1_000 + (round % 7) * 9_000)
      const before = this.written.get(name)
      if (before !== undefined) expect(sha(await this.pool.read(name, 0, 100_000))).toBe(before)
      await this.pool.writeFull(name, bytes)
      this.written.set(name, sha(bytes))
      this.writes++
    }
  }

  async stop(): Promise<void> {
    this.stopped = true
    await this.done
  }
}

interface PoolRow {
  readonly name: string
  readonly pgNum: number
  readonly pgpNum: number
}

async function poolRow(): Promise<PoolRow> {
  const rows = await cluster.json<readonly PoolRow[]>('pool', 'ls')
  return rows.find(({ name }) => name === 'growing') as PoolRow
}

describe('a pool', () => {
  test('grows from 8 to 64 placement groups under a writer that checks everything', async () => {
    await cluster.ok('pool', 'create', 'growing', '8')
    const pool = (await context.client()).pool('growing')
    const writer = new Writer(pool, 8)
    await cluster.until('there is something to split', async () => writer.writes > 400)
    expect(await cluster.ok('pool', 'set', 'growing', 'pg_num', '64')).toContain('will be 64')
    await cluster.until(
      'the pool has 64 placement groups, placed as 64',
      async () => (await poolRow()).pgpNum === 64,
      120_000,
    )
    const { pid } = await cluster.daemon('osd.1')
    process.kill(pid, 'SIGKILL')
    await cluster.until('osd.1 runs again', async () => {
      const now = await cluster.daemon('osd.1')
      return now.state === 'running' && now.pid !== pid
    })
    await cluster.untilHealthy()
    const { writes } = writer
    await cluster.until('the writer goes on', async () => writer.writes > writes + 100)
    await writer.stop()
    expect(await poolRow()).toMatchObject({ pgNum: 64, pgpNum: 64 })
    const names: string[] = []
    for await (const name of pool.list()) names.push(name)
    expect(names.sort()).toEqual([...writer.written.keys()].sort())
    for (const [name, hash] of writer.written) expect(sha(await pool.read(name, 0, 100_000))).toBe(hash)
    const stats = await cluster.json<readonly { readonly objects: number }[]>('pool', 'stats', 'growing')
    expect(stats[0]?.objects).toBe(names.length)
  }, 400_000)

  test('shrinks from 64 to 60 placement groups under such a writer', async () => {
    const pool = (await context.client()).pool('growing')
    const writer = new Writer(pool, 4)
    expect(await cluster.ok('pool', 'set', 'growing', 'pg_num', '60')).toContain('64 placement groups become 60')
    await cluster.until('the pool has 60 placement groups', async () => (await poolRow()).pgNum === 60, 120_000)
    const { writes } = writer
    await cluster.until('the writer goes on', async () => writer.writes > writes + 100)
    await writer.stop()
    await cluster.untilHealthy()
    const names: string[] = []
    for await (const name of pool.list()) names.push(name)
    for (const [name, hash] of writer.written) expect(sha(await pool.read(name, 0, 100_000))).toBe(hash)
    const stats = await cluster.json<readonly { readonly objects: number }[]>('pool', 'stats', 'growing')
    expect(stats[0]?.objects).toBe(names.length)
  }, 400_000)
})
