/**
 * Compression: ratio and speed of each algorithm over three kinds of data in pieces of 64 KiB, and an object store that
 * writes and reads 4 MiB with each of them, and without.
 *
 *   npx tsx --conditions=source bench/compression.ts [--directory DIR] [--seconds N] [--record]
 *
 * The data: `text` is the sources of this repository, `image` the first bytes of Node's executable, `noise` random.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type CompressionAlgorithm,
  compressionAlgorithms,
  compressionDefaults,
  type PgId,
  type PoolId,
} from '../packages/base/src/index.ts'
import { FileObjectStore } from '../packages/object-store/src/index.ts'
import { createRealEnv } from '../packages/runtime/src/index.ts'
import { headSnap, type ObjectId } from '../packages/wire/src/index.ts'

const pieceBytes = 64 * 1024
const sampleBytes = 4 * 1024 * 1024
const mebibyte = 1024 * 1024
const inFlight = 4

function argument(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at > 0 ? process.argv[at + 1] : undefined
}

const directory = argument('--directory') ?? join(tmpdir(), `shoal-bench-${process.pid}`)
const seconds = Number(argument('--seconds') ?? 3)
const env = createRealEnv({ name: 'bench', logLevel: 'warn' })
const algorithms = compressionAlgorithms.filter((algorithm) => env.compression.supports(algorithm))
const figures: Record<string, string | number>[] = []

function report(figure: Record<string, string | number>): void {
  figures.push(figure)
  console.log(
    Object.entries(figure)
      .map(([name, value]) => (typeof value === 'string' ? value.padEnd(8) : `${name} ${value}`))
      .join('  '),
  )
}

function sources(): Uint8Array {
  const root = fileURLToPath(new URL('../packages/', import.meta.url))
  const names = readdirSync(root).flatMap((name) => {
    const folder = join(root, name, 'src')
    if (!existsSync(folder)) return []
    return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file))
  })
  const text = names.filter((name) => name.endsWith('.ts')).map((name) => readFileSync(name))
  const once = Buffer.concat(text)
  return Buffer.concat(Array.from({ length: Math.ceil(sampleBytes / once.length) }, () => once)).subarray(
    0,
    sampleBytes,
  )
}

const samples: Readonly<Record<string, Uint8Array>> = {
  text: sources(),
  image: readFileSync(process.execPath).subarray(0, sampleBytes),
  noise: env.random.bytes(sampleBytes),
}

/** Runs `once` with so many at a time until the time is over; MiB of plain bytes per second. */
async function speed(bytes: number, once: (i: number) => Promise<unknown>): Promise<number> {
  const startedMs = env.clock.monotonicMs()
  let next = 0
  let done = 0
  const lane = async (): Promise<void> => {
    while (env.clock.monotonicMs() - startedMs < seconds * 1000) {
      await once(next++)
      done++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  return Math.round((done * bytes) / mebibyte / ((env.clock.monotonicMs() - startedMs) / 1000))
}

async function codec(algorithm: CompressionAlgorithm, data: string): Promise<void> {
  const sample = samples[data] as Uint8Array
  const count = sampleBytes / pieceBytes
  const piece = (i: number): Uint8Array => sample.subarray((i % count) * pieceBytes, ((i % count) + 1) * pieceBytes)
  const compressed: Uint8Array[] = []
  let units = 0
  for (let i = 0; i < count; i++) {
    const result = (await env.compression.compress(algorithm, piece(i), 2 * pieceBytes)) as Uint8Array
    compressed.push(result)
    const taken = Math.ceil(result.length / 4096)
    units += taken > 14 ? 16 : taken
  }
  const bytes = compressed.reduce((sum, { length }) => sum + length, 0)
  report({
    algorithm,
    data,
    ratio: Number((bytes / sampleBytes).toFixed(3)),
    ratioInUnits: Number((units / (sampleBytes / 4096)).toFixed(3)),
    compressMibPerSecond: await speed(pieceBytes, (i) => env.compression.compress(algorithm, piece(i), 2 * pieceBytes)),
    decompressMibPerSecond: await speed(pieceBytes, (i) =>
      env.compression.decompress(algorithm, compressed[i % count] as Uint8Array, pieceBytes),
    ),
  })
}

const collection = '1.0' as PgId
const objects = 32

function object(index: number): ObjectId {
  return {
    pool: 1 as PoolId,
    hash: Math.imul(index, 2654435761) >>> 0,
    namespace: '',
    name: `object.${index}`,
    snap: headSnap,
  }
}

async function store(algorithm: CompressionAlgorithm | undefined, data: string): Promise<void> {
  const path = join(directory, 'store')
  await FileObjectStore.create(env, path, { sizeBytes: 2048 * mebibyte })
  const opened = await FileObjectStore.mount(env, path)
  if (algorithm !== undefined) {
    const settings = { ...compressionDefaults, mode: 'force', algorithm } as const
    opened.setCompression(new Map([[1 as PoolId, settings]]))
  }
  await opened.submit({ ops: [{ kind: 'create-collection', collection }] })
  const sample = samples[data] as Uint8Array
  const write = (i: number): Promise<void> =>
    opened.submit({
      ops: [{ kind: 'write', collection, object: object(i % objects), offset: 0, data: sample.slice() }],
    })
  for (let i = 0; i < objects; i++) await write(i)
  const cpu = process.cpuUsage()
  const writeMibPerSecond = await speed(sampleBytes, write)
  const used = process.cpuUsage(cpu)
  const small = env.random.bytes(8192)
  const readMibPerSecond = await speed(sampleBytes, (i) => opened.read(collection, object(i % objects), 0, sampleBytes))
  const overwrites = await speed(mebibyte, (i) => {
    const offset = Math.floor(env.random.below(sampleBytes - 8192) / 4096) * 4096
    return opened.submit({ ops: [{ kind: 'write', collection, object: object(i % objects), offset, data: small }] })
  })
  report({
    store: algorithm ?? 'none',
    data,
    writeMibPerSecond,
    readMibPerSecond,
    overwrites8KibPerSecond: overwrites,
    cpuSecondsOfWrites: Number(((used.user + used.system) / 1e6).toFixed(1)),
  })
  await opened.close()
  rmSync(path, { recursive: true, force: true })
}

try {
  mkdirSync(directory, { recursive: true })
  for (const algorithm of algorithms) for (const data of Object.keys(samples)) await codec(algorithm, data)
  for (const data of ['text', 'noise']) for (const algorithm of [undefined, ...algorithms]) await store(algorithm, data)
  if (process.argv.includes('--record')) {
    const record = { bench: 'compression', node: process.version, figures }
    writeFileSync(new URL('./results/compression.json', import.meta.url), `${JSON.stringify(record, null, 2)}\n`)
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
