/** An erasure-coded pool on real processes: any two of six OSDs may be gone, and everything is there. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CommandContext } from '../../cli/src/context.ts'
import type { PoolHandle } from '../../client/src/index.ts'
import { RawClient } from '../../gateway-nbd/test/raw-client.ts'
import { sha, TestCluster } from './support/cluster.ts'

let cluster: TestCluster
let context: CommandContext
let pool: PoolHandle

beforeAll(async () => {
  cluster = await TestCluster.create(['--osds', '6'])
  await cluster.ok('osd', 'erasure-code-profile', 'set', 'wide', 'k=4', 'm=2', 'crush-failure-domain=osd')
  await cluster.ok('pool', 'create', 'coded', '8', 'erasure', 'wide')
  await cluster.untilHealthy()
  await connect()
}, 240_000)
afterAll(async () => {
  await context.close()
  await cluster.destroy()
}, 60_000)

/** A client in this process: those of all processes at once are gone. */
async function connect(): Promise<void> {
  context = new CommandContext({ data: cluster.directory, format: 'json', timeout: 60 })
  pool = (await context.client()).pool('coded')
}

interface Df {
  readonly pools: readonly {
    readonly name: string
    readonly compression: { readonly originalBytes: number; readonly allocatedBytes: number }
  }[]
}

interface PgRow {
  readonly pgId: string
  readonly acting: readonly number[]
  readonly lastDeepScrubMs: number
  readonly scrubErrors: number
}

const contents = new Map<string, Buffer>()

async function put(name: string, bytes: Buffer): Promise<void> {
  await pool.writeFull(name, bytes)
  contents.set(name, bytes)
}

async function overwrite(name: string, offset: number, bytes: Buffer): Promise<void> {
  await pool.write(name, offset, bytes)
  const before = contents.get(name) ?? Buffer.alloc(0)
  const after = Buffer.alloc(Math.max(before.length, offset + bytes.length))
  before.copy(after)
  bytes.copy(after, offset)
  contents.set(name, after)
}

async function expectAll(): Promise<void> {
  for (const [name, bytes] of contents) {
    const found = await pool.read(name, 0, bytes.length + 1)
    expect({ name, length: found.length, sha: sha(found) }).toEqual({ name, length: bytes.length, sha: sha(bytes) })
  }
}

async function expectHash(name: string, hash: string | undefined): Promise<void> {
  expect(sha(await pool.read(name, 0, 2_000_000))).toBe(hash)
}

describe('an erasure-coded pool, 4+2 on six OSDs', () => {
  test('keeps objects of any size, attributes, and refuses omap', async () => {
    for (const [at, size] of [1, 4096, 16_384, 16_385, 100_000, 1_048_577].entries()) {
      await put(`object-${at}`, randomBytes(size))
    }
    for (let at = 6; at < 40; at++) await put(`object-${at}`, randomBytes(40_000))
    await expectAll()
    await pool.execute('object-1', [{ kind: 'set-xattr', name: 'colour', value: Buffer.from('blue') }])
    const { results } = await pool.execute('object-1', [{ kind: 'get-xattrs' }])
    expect(results).toEqual([{ kind: 'xattrs', xattrs: new Map([['colour', new Uint8Array(Buffer.from('blue'))]]) }])
    await expect(
      pool.execute('object-1', [{ kind: 'omap-set', entries: [{ key: Buffer.from('k'), value: Buffer.from('v') }] }]),
    ).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    expect(await cluster.json('pool', 'get', 'coded')).toMatchObject({ size: 6, min_size: 5 })
  }, 120_000)

  test.each([
    [0, 1],
    [2, 5],
    [3, 4],
  ])(
    'reads everything, and writes, without osd.%i and osd.%i',
    async (one, other) => {
      await cluster.ok('pool', 'set', 'coded', 'min_size', '4')
      await cluster.ok('daemon', 'stop', `osd.${one}`)
      await cluster.ok('daemon', 'stop', `osd.${other}`)
      await expectAll()
      await put(`object-${one}`, randomBytes(30_000))
      await overwrite(`object-${other + 10}`, 5_000, randomBytes(3_000))
      await cluster.ok('daemon', 'start', `osd.${one}`)
      await cluster.ok('daemon', 'start', `osd.${other}`)
      await cluster.untilHealthy()
      await cluster.ok('pool', 'set', 'coded', 'min_size', '5')
      await cluster.untilHealthy()
      await expectAll()
    },
    240_000,
  )

  test('holds the data of an image, which an NBD client writes while an OSD is killed', async () => {
    await cluster.ok('block', 'create', 'block/disk', '--size', '8M', '--object-size', '1M', '--data-pool', 'coded')
    const { address } = await cluster.daemon('nbd.0')
    const client = await RawClient.open(Number(address.split(':').at(-1)))
    const disk = Buffer.alloc(8 * 1024 * 1024)
    expect(await client.start('block/disk')).toBe(disk.length)
    const { pid } = await cluster.daemon('osd.1')
    for (let at = 0; at < 24; at++) {
      if (at === 8) process.kill(pid, 'SIGKILL')
      const bytes = randomBytes(512 * (1 + ((at * 7) % 40)))
      const offset = 512 * ((at * 611) % 16_000)
      client.request(1, offset, bytes.length)
      client.socket.write(bytes)
      expect(await client.simpleError()).toBe(0)
      bytes.copy(disk, offset)
    }
    for (let offset = 0; offset < disk.length; offset += 1024 * 1024) {
      client.request(0, offset, 1024 * 1024)
      expect(await client.simpleError()).toBe(0)
      expect(sha(await client.take(1024 * 1024))).toBe(sha(disk.subarray(offset, offset + 1024 * 1024)))
    }
    client.socket.destroy()
    await cluster.untilHealthy()
    expect(await cluster.ok('object', 'ls', 'block_data.', '--pool', 'coded')).not.toBe('')
    expect(await cluster.ok('object', 'ls', 'block_data.', '--pool', 'block')).toBe('')
  }, 240_000)

  test('overwrites at any alignment while OSDs are killed read back equal', async () => {
    for (let round = 0; round < 6; round++) {
      const { pid } = await cluster.daemon(`osd.${round}`)
      process.kill(pid, 'SIGKILL')
      for (let i = 0; i < 60; i++) {
        await overwrite(`object-${4 + (i % 30)}`, 1_234 * (round + 1) * (i % 9), randomBytes(1 + 377 * i))
      }
      await cluster.until(`osd.${round} runs again`, async () => {
        const now = await cluster.daemon(`osd.${round}`)
        return now.state === 'running' && now.pid !== pid
      })
    }
    await cluster.untilHealthy()
    await expectAll()
  }, 240_000)

  test('compresses its shards, and keeps to a quota of what clients wrote', async () => {
    const mebibyte = 1024 * 1024
    const text = Buffer.from('a line of a file that compresses well\n'.repeat(120_000)).subarray(0, 4 * mebibyte)
    await cluster.ok('pool', 'set', 'coded', 'compression_mode', 'aggressive')
    await put('text', text)
    await cluster.until('less room is taken than its shards have bytes', async () => {
      const { pools } = await cluster.json<Df>('df', 'detail')
      const compression = pools.find(({ name }) => name === 'coded')?.compression
      if (compression === undefined || compression.originalBytes < (text.length * 6) / 4 / 2) return false
      return compression.allocatedBytes < compression.originalBytes / 2
    })
    await expectAll()
    let used = 0
    for await (const name of pool.list()) used += (await pool.stat(name)).sizeBytes
    await cluster.ok('pool', 'set-quota', 'coded', 'max_bytes', String(used + mebibyte))
    await put('fits', randomBytes(mebibyte))
    await expect(pool.writeFull('does-not', randomBytes(1))).rejects.toMatchObject({ code: 'EDQUOT' })
    await cluster.ok('pool', 'set-quota', 'coded', 'max_bytes', '0')
    await pool.writeFull('does-not', randomBytes(1))
    await cluster.ok('pool', 'set', 'coded', 'compression_mode', 'unset')
  }, 120_000)

  test('is scrubbed deeply without a word: parity belongs to the data', async () => {
    const rows = async () => (await cluster.json<readonly PgRow[]>('pg', 'ls')).filter((row) => row.acting.length === 6)
    const before = new Map((await rows()).map((row) => [row.pgId, row.lastDeepScrubMs]))
    for (const pgId of before.keys()) await cluster.ok('pg', 'deep-scrub', pgId)
    await cluster.until('all of it was read', async () =>
      (await rows()).every((row) => row.lastDeepScrubMs > (before.get(row.pgId) ?? 0) && row.scrubErrors === 0),
    )
    await cluster.untilHealthy()
  }, 120_000)

  test('keeps what there was at a snapshot, whatever is written and whoever dies', async () => {
    const names = ['object-4', 'object-5', 'object-6', 'object-7']
    const before = new Map(names.map((name) => [name, sha(contents.get(name) ?? Buffer.alloc(0))]))
    await cluster.ok('pool', 'mksnap', 'coded', 'monday')
    const snap = await pool.snapshotId('monday')
    const { pid } = await cluster.daemon('osd.2')
    for (let i = 0; i < 60; i++) {
      if (i === 20) process.kill(pid, 'SIGKILL')
      await overwrite(names[i % 4] as string, 731 * (i % 20), randomBytes(100 + 197 * i))
    }
    await cluster.ok('object', 'rm', 'object-7', '--pool', 'coded')
    await cluster.untilHealthy()
    const atSnapshot = async (): Promise<void> => {
      for (const [name, hash] of before) expect(sha(await pool.at(snap).read(name, 0, 2_000_000))).toBe(hash)
    }
    await atSnapshot()
    await cluster.ok('pool', 'set', 'coded', 'min_size', '4')
    await cluster.ok('daemon', 'stop', 'osd.0')
    await cluster.ok('daemon', 'stop', 'osd.1')
    await atSnapshot()
    await cluster.ok('daemon', 'start', 'osd.0')
    await cluster.ok('daemon', 'start', 'osd.1')
    await cluster.untilHealthy()
    await cluster.ok('pool', 'set', 'coded', 'min_size', '5')
    await cluster.ok('object', 'rollback', 'object-7', 'monday', '--pool', 'coded')
    await expectHash('object-7', before.get('object-7'))
    await cluster.ok('pool', 'rmsnap', 'coded', 'monday')
    await cluster.until('nothing is left of it', async () => {
      const pools = await cluster.json<readonly { readonly name: string; readonly snapshots?: object }[]>('pool', 'ls')
      const entry = pools.find(({ name }) => name === 'coded')
      return (entry?.snapshots as { readonly trimming: number } | undefined)?.trimming === 0
    })
    for (const name of names) {
      expect(await cluster.json('object', 'listsnaps', name, '--pool', 'coded')).toMatchObject({ clones: [] })
    }
    contents.set('object-7', Buffer.from(await pool.read('object-7', 0, 2_000_000)))
    await expectAll()
  }, 480_000)

  test('all processes killed at once: every acknowledged byte is there', async () => {
    await overwrite('object-4', 12_345, randomBytes(9_999))
    await context.close()
    await cluster.powerCut()
    await cluster.start()
    await cluster.untilHealthy()
    await connect()
    await expectAll()
  }, 180_000)
})
