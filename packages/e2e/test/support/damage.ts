/** Bytes that flip on an OSD's disk, where the copies of known things lie. */
import { randomBytes } from 'node:crypto'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestCluster } from './cluster.ts'

/** Blocks of each thing that get a flipped byte. */
const badBlocks = [1, 3, 5, 7, 9, 11, 13, 15, 18, 20, 23]
const blockBytes = 4096
const readBytesMax = 512 * 1024 * 1024

export interface Thing {
  readonly name: string
  readonly bytes: Buffer
  /** Found in the metadata of an OSD by their text. */
  readonly attribute: string
  readonly entry: string
}

/** How many bytes were flipped. */
export interface Damage {
  readonly data: number
  readonly meta: number
}

/** Objects with an attribute and an entry of the omap, in the pool `objects`. */
export async function putThings(cluster: TestCluster, count: number): Promise<readonly Thing[]> {
  const things: Thing[] = []
  for (let i = 0; i < count; i++) {
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

/** What the cluster gives back of them: hash, attribute and entry of each. */
export async function readThings(cluster: TestCluster, things: readonly Thing[]): Promise<readonly string[]> {
  const found: string[] = []
  for (const { name } of things) {
    const hash = await cluster.hashOf(name)
    const attribute = await cluster.ok('object', 'getxattr', name, 'label')
    const omap = await cluster.json<{ readonly value: string }[]>('object', 'listomapvals', name)
    found.push(`${hash} ${attribute.trim()} ${omap[0]?.value}`)
  }
  return found
}

/** One byte in each of eleven blocks of data, and in the attribute and the entry wherever they lie, of one OSD's copies. */
export async function damage(cluster: TestCluster, osd: string, things: readonly Thing[]): Promise<Damage> {
  const { dataDirectory } = await cluster.daemon(osd)
  const store = join(dataDirectory, 'store')
  const blocks = things.flatMap(({ bytes }) =>
    badBlocks.map((block) => bytes.subarray(block * blockBytes, (block + 1) * blockBytes)),
  )
  const data = await flip(join(store, 'data'), blocks, 1_000)
  const texts = things.flatMap(({ attribute, entry }) => [Buffer.from(attribute), Buffer.from(entry)])
  let meta = 0
  for (const name of await readdir(join(store, 'meta'))) {
    if (name.endsWith('.ldb')) meta += await flip(join(store, 'meta', name), texts, 25)
  }
  return { data, meta }
}

/** Flips one byte behind each place where this is found; returns at how many. */
async function flip(path: string, needles: readonly Buffer[], behind: number): Promise<number> {
  const file = await open(path, 'r+')
  try {
    const { size } = await file.stat()
    const length = Math.min(size, readBytesMax)
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, 0)
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
