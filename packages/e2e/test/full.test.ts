/** Full disks and full pools, on real processes: clean errors, nothing lost, and writing that goes on by itself. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Outcome, sha, TestCluster } from './support/cluster.ts'

const mebibyte = 1024 * 1024
const kibibyte = 1024
let cluster: TestCluster

beforeAll(async () => {
  cluster = await TestCluster.create(['--osd-capacity', '1G'])
}, 120_000)
afterAll(() => cluster.destroy(), 60_000)

const put = (pool: string, name: string, bytes: Uint8Array): Promise<Outcome> =>
  cluster.tryPut(name, bytes, '--pool', pool)

/** Fills until a write is refused: the hashes of what was acknowledged, and the refusal. */
async function fill(pool: string, bytes: number): Promise<{ hashes: Map<string, string>; refusal: Outcome }> {
  const hashes = new Map<string, string>()
  for (let i = 0; i < 1_000; i++) {
    const data = randomBytes(bytes)
    const outcome = await put(pool, `fill-${i}`, data)
    if (outcome.code !== 0) return { hashes, refusal: outcome }
    hashes.set(`fill-${i}`, sha(data))
  }
  throw new Error('a thousand objects, and nobody was refused')
}

const codes = async (): Promise<readonly string[]> => (await cluster.health()).checks.map(({ code }) => code)

describe('a pool with a quota', () => {
  test('takes objects up to it, in bytes and in number, and more again once some are gone', async () => {
    await cluster.ok('pool', 'create', 'small', '8')
    expect(await cluster.ok('pool', 'set-quota', 'small', 'max_bytes', '1M')).toContain('max_bytes is 1048576')
    const { hashes, refusal } = await fill('small', 50 * kibibyte)
    expect(refusal).toMatchObject({ code: 122, stderr: expect.stringContaining('EDQUOT') })
    expect(hashes.size).toBe(20)
    for (const [name, hash] of hashes) expect(await cluster.hashOf(name, '--pool', 'small')).toBe(hash)
    await cluster.until('health says so', async () => (await codes()).includes('POOL_FULL'))
    // 24 KiB are left: an object that fits, fits.
    expect((await put('small', 'fits', randomBytes(24 * kibibyte))).code).toBe(0)
    expect((await put('small', 'does-not', randomBytes(1))).code).toBe(122)
    // What does not grow is no matter of the quota.
    expect((await put('small', 'fill-3', randomBytes(50 * kibibyte))).code).toBe(0)
    await cluster.ok('object', 'rm', 'fill-0', '--pool', 'small')
    await cluster.until(
      'a write goes on',
      async () => (await put('small', 'again', randomBytes(50 * kibibyte))).code === 0,
    )

    await cluster.ok('pool', 'set-quota', 'small', 'max_bytes', '0')
    await cluster.ok('pool', 'set-quota', 'small', 'max_objects', '22')
    expect((await put('small', 'one-more', randomBytes(100 * kibibyte))).code).toBe(0)
    expect((await put('small', 'too-many', randomBytes(1))).code).toBe(122)
    const usage = await cluster.json<{ readonly pools: readonly { readonly name: string }[] }>('df')
    expect(usage.pools.find((pool) => pool.name === 'small')).toMatchObject({ quotaMaxObjects: 22, quotaMaxBytes: 0 })
    await cluster.ok('pool', 'set-quota', 'small', 'max_objects', '0')
    await cluster.untilHealthy()
  }, 600_000)
})

describe('disks that are full', () => {
  test('refuse writes; all processes die there, come back, take removals, and then writes again', async () => {
    // Low ratios: with those of the map a run writes three gigabytes.
    for (const [which, ratio] of [
      ['nearfull', '0.2'],
      ['backfillfull', '0.22'],
      ['full', '0.25'],
    ] as const)
      await cluster.ok('osd', `set-${which}-ratio`, ratio)
    const { hashes, refusal } = await fill('objects', 8 * mebibyte)
    expect(refusal).toMatchObject({ code: 28, stderr: expect.stringContaining('ENOSPC') })
    // Smaller ones until those are refused too: as full as it gets.
    for (let i = 0; (await put('objects', `rest-${i}`, randomBytes(2 * mebibyte))).code === 0; i++);
    await cluster.until('health says so', async () =>
      (await codes()).some((code) => /^OSD_(NEAR|BACKFILL)?FULL/.test(code)),
    )

    await cluster.powerCut()
    await cluster.startUnhealthy()
    for (const [name, hash] of hashes) expect(await cluster.hashOf(name, '--pool', 'objects')).toBe(hash)
    expect((await put('objects', 'one-more', randomBytes(8 * mebibyte))).code).toBe(28)

    const gone = [...hashes.keys()].slice(0, Math.ceil(hashes.size / 20))
    for (const name of gone) {
      await cluster.ok('object', 'rm', name)
      hashes.delete(name)
    }
    // Close to full a write needs several times its size as room: what all primaries may order at once must fit.
    await cluster.until(
      'writes go on',
      async () => (await put('objects', 'resumed', randomBytes(512 * kibibyte))).code === 0,
    )
    for (const [name, hash] of hashes) expect(await cluster.hashOf(name, '--pool', 'objects')).toBe(hash)
    for (const name of hashes.keys()) await cluster.ok('object', 'rm', name)
    await cluster.untilHealthy()
  }, 600_000)
})
