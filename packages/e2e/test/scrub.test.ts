/** Bytes that flip on one OSD's disk while it runs: a deep scrub finds them all, and mends them. */
import { randomBytes } from 'node:crypto'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestCluster } from './support/cluster.ts'

let cluster: TestCluster

beforeAll(async () => {
  cluster = await TestCluster.create()
}, 180_000)
afterAll(() => cluster.destroy(), 60_000)

const victim = 'osd.1'
const objects = 4
const badBlocks = [1, 3, 5, 7, 9, 11, 13, 15, 18, 20, 23]
const blockBytes = 4096

interface Thing {
  readonly name: string
  readonly bytes: Buffer
  /** Found in the metadata of an OSD by their text. */
  readonly attribute: string
  readonly entry: string
}

interface PgScrub {
  readonly pgId: string
  readonly state: string
  readonly lastDeepScrubMs: number
  readonly scrubErrors: number
  readonly actingPrimary: number
}

async function putAll(): Promise<readonly Thing[]> {
  const things: Thing[] = []
  for (let i = 0; i < objects; i++) {
    const text = (what: string): string => `${what}-of-thing-${i}-${randomBytes(20).toString('hex')}`
    const thing = {
      name: `thing-${i}`,
      bytes: randomBytes(100_000),
      attribute: text('attribute'),
      entry: text('entry'),
    }
    await cluster.put(thing.name, thing.bytes)
    await cluster.ok('object', 'setxattr', thing.name, 'label', thing.attribute)
    await cluster.ok('object', 'setomapval', thing.name, 'key', thing.entry)
    things.push(thing)
  }
  return things
}

async function hashesOf(things: readonly Thing[]): Promise<readonly string[]> {
  const hashes: string[] = []
  for (const { name } of things) {
    const hash = await cluster.hashOf(name)
    const attribute = await cluster.ok('object', 'getxattr', name, 'label')
    const omap = await cluster.ok('--format', 'json', 'object', 'listomapvals', name)
    hashes.push(`${hash} ${attribute.trim()} ${(JSON.parse(omap) as { value: string }[])[0]?.value}`)
  }
  return hashes
}

/** Flips one byte behind each place where this is found; returns at how many. */
async function flip(path: string, needles: readonly Buffer[], behind: number, limitBytes: number): Promise<number> {
  const file = await open(path, 'r+')
  try {
    const { size } = await file.stat()
    const { buffer } = await file.read(Buffer.alloc(Math.min(size, limitBytes)), 0, Math.min(size, limitBytes), 0)
    let flipped = 0
    for (const needle of needles) {
      for (let at = buffer.indexOf(needle); at >= 0; at = buffer.indexOf(needle, at + 1)) {
        await file.write(Buffer.from([(buffer[at + behind] as number) ^ 0x20]), 0, 1, at + behind)
        flipped++
      }
    }
    await file.sync()
    return flipped
  } finally {
    await file.close()
  }
}

async function damage(
  store: string,
  things: readonly Thing[],
): Promise<{ readonly data: number; readonly meta: number }> {
  const blocks = things.flatMap(({ bytes }) =>
    badBlocks.map((block) => bytes.subarray(block * blockBytes, (block + 1) * blockBytes)),
  )
  const data = await flip(join(store, 'data'), blocks, 1_000, 512 * 1024 * 1024)
  const texts = things.flatMap(({ attribute, entry }) => [Buffer.from(attribute), Buffer.from(entry)])
  let meta = 0
  for (const name of await readdir(join(store, 'meta'))) {
    if (name.endsWith('.ldb')) meta += await flip(join(store, 'meta', name), texts, 25, 512 * 1024 * 1024)
  }
  return { data, meta }
}

async function pgs(): Promise<readonly PgScrub[]> {
  return cluster.json<readonly PgScrub[]>('pg', 'ls')
}

async function codes(): Promise<readonly string[]> {
  return (await cluster.health()).checks.map(({ code }) => code)
}

test('fifty flipped bytes in data and metadata of a running OSD are found and mended', async () => {
  const things = await putAll()
  const expected = await hashesOf(things)
  // What the journal holds goes to its place; the copy is read from there.
  await cluster.ok('daemon', 'stop', victim)
  await cluster.ok('daemon', 'start', victim)
  await cluster.untilHealthy()
  const { dataDirectory } = await cluster.daemon(victim)
  const flipped = await damage(join(dataDirectory, 'store'), things)
  expect(flipped.data).toBe(badBlocks.length * objects)
  expect(flipped.meta).toBeGreaterThanOrEqual(2 * objects)
  expect(flipped.data + flipped.meta).toBeGreaterThanOrEqual(50)
  const before = Math.max(...(await pgs()).map(({ lastDeepScrubMs }) => lastDeepScrubMs))
  // Found, and not mended yet.
  await cluster.ok('osd', 'set', 'norecover')
  for (const osd of [0, 1, 2]) await cluster.ok('osd', 'deep-scrub', String(osd))
  await cluster.until('damage is told', async () => {
    const found = await codes()
    return found.includes('OSD_SCRUB_ERRORS') && found.includes('PG_DAMAGED')
  })
  const inconsistent = (): Promise<number> =>
    pgs().then(async (rows) => {
      let names = 0
      for (const { pgId, scrubErrors } of rows) {
        if (scrubErrors === 0) continue
        const { inconsistents } = await cluster.json<{ inconsistents: { proven: boolean }[] }>(
          'pg',
          'list-inconsistent',
          pgId,
        )
        names += inconsistents.filter(({ proven }) => proven).length
      }
      return names
    })
  await cluster.until(
    'every damaged object is listed, and its bad copy proven',
    async () => (await inconsistent()) === objects,
  )
  const [bad] = (await pgs()).filter(({ scrubErrors }) => scrubErrors > 0)
  expect(await cluster.ok('pg', 'list-inconsistent', bad?.pgId ?? '')).toContain(`${victim}: `)
  await cluster.ok('osd', 'unset', 'norecover')
  await cluster.until(
    'everything is mended, and looked at again',
    async () =>
      (await pgs()).every(
        ({ state, scrubErrors, lastDeepScrubMs }) =>
          state === 'active+clean' && scrubErrors === 0 && lastDeepScrubMs > before,
      ),
    120_000,
  )
  const left = await codes()
  for (const code of ['OSD_SCRUB_ERRORS', 'PG_DAMAGED', 'OSDMAP_FLAGS']) expect(left).not.toContain(code)
  expect(await hashesOf(things)).toEqual(expected)
  // Also where only the mended copies are left to be read first, after a start that reads all of their records.
  await cluster.ok('daemon', 'stop', victim)
  await cluster.ok('daemon', 'start', victim)
  await cluster.until('clean', async () => (await pgs()).every(({ state }) => state === 'active+clean'))
  await cluster.ok('daemon', 'stop', 'osd.0')
  expect(await hashesOf(things)).toEqual(expected)
  await cluster.ok('daemon', 'start', 'osd.0')
  await cluster.until('clean', async () => (await pgs()).every(({ state }) => state === 'active+clean'))
}, 600_000)
