/** An erasure-coded pool on real processes: any two of six OSDs may be gone, and everything is there. */
import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestCluster } from './support/cluster.ts'

let cluster: TestCluster

beforeAll(async () => {
  cluster = await TestCluster.create(['--osds', '6'])
  await cluster.ok('osd', 'erasure-code-profile', 'set', 'wide', 'k=4', 'm=2', 'crush-failure-domain=osd')
  await cluster.ok('pool', 'create', 'coded', '8', 'erasure', 'wide')
  await cluster.untilHealthy()
}, 180_000)
afterAll(() => cluster.destroy(), 60_000)

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const contents = new Map<string, Buffer>()

async function put(name: string, bytes: Buffer, offset?: number): Promise<void> {
  const file = join(cluster.directory, 'put.tmp')
  await writeFile(file, bytes)
  const at = offset === undefined ? [] : ['--offset', String(offset)]
  await cluster.ok('object', 'put', name, file, '--pool', 'coded', ...at)
  const before = offset === undefined ? Buffer.alloc(0) : (contents.get(name) ?? Buffer.alloc(0))
  const from = offset ?? 0
  const after = Buffer.alloc(Math.max(before.length, from + bytes.length))
  before.copy(after)
  bytes.copy(after, from)
  contents.set(name, after)
}

async function expectAll(): Promise<void> {
  for (const [name, bytes] of contents) {
    const file = join(cluster.directory, 'get.tmp')
    await cluster.ok('object', 'get', name, file, '--pool', 'coded')
    expect(sha(await readFile(file)), name).toBe(sha(bytes))
  }
}

describe('an erasure-coded pool, 4+2 on six OSDs', () => {
  test('keeps objects of any size, attributes, and refuses omap', async () => {
    for (const [at, size] of [1, 4096, 16_384, 16_385, 100_000, 1_048_577].entries()) {
      await put(`object-${at}`, randomBytes(size))
    }
    for (let at = 6; at < 10; at++) await put(`object-${at}`, randomBytes(40_000))
    await expectAll()
    await cluster.ok('object', 'setxattr', 'object-1', 'colour', 'blue', '--pool', 'coded')
    expect(await cluster.ok('object', 'getxattr', 'object-1', 'colour', '--pool', 'coded')).toBe('blue\n')
    const { code, stderr } = await cluster.run('object', 'setomapval', 'object-1', 'k', 'v', '--pool', 'coded')
    expect(code).not.toBe(0)
    expect(stderr).toContain('omap')
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
      await put(`object-${other + 4}`, randomBytes(3_000), 5_000)
      await cluster.ok('daemon', 'start', `osd.${one}`)
      await cluster.ok('daemon', 'start', `osd.${other}`)
      await cluster.untilHealthy()
      await cluster.ok('pool', 'set', 'coded', 'min_size', '5')
      await cluster.untilHealthy()
      await expectAll()
    },
    240_000,
  )

  test('overwrites at any alignment while OSDs are killed read back equal', async () => {
    for (let round = 0; round < 4; round++) {
      const { pid } = await cluster.daemon(`osd.${round}`)
      process.kill(pid, 'SIGKILL')
      for (let i = 0; i < 3; i++) await put(`object-${4 + i}`, randomBytes(1 + 3_777 * i), 1_234 * (round + 1) * (i + 1))
      await cluster.until(`osd.${round} runs again`, async () => {
        const now = await cluster.daemon(`osd.${round}`)
        return now.state === 'running' && now.pid !== pid
      })
    }
    await cluster.untilHealthy()
    await expectAll()
  }, 240_000)

  test('all processes killed at once: every acknowledged byte is there', async () => {
    await put('object-4', randomBytes(9_999), 12_345)
    await cluster.powerCut()
    await cluster.start()
    await cluster.untilHealthy()
    await expectAll()
  }, 180_000)
})
