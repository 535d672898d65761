/**
 * One object store alone: 8 KiB writes as an OSD makes them (one write, one xattr, two records of the collection), reads
 * of 8 KiB, 4 MiB writes; beside them the raw journal (one writev and one datasync per group of the same bytes).
 *
 *   npx tsx --conditions=source bench/object-store.ts [--directory DIR] [--only TEXT] [--perf] [--record]
 *
 * `--only` runs the figures whose names contain the text.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PgId, PoolId } from '../packages/base/src/index.ts'
import { FileObjectStore } from '../packages/object-store/src/index.ts'
import { createRealEnv } from '../packages/runtime/src/index.ts'
import { headSnap, type ObjectId } from '../packages/wire/src/index.ts'

const depth = 64
const smallBytes = 8192
const largeBytes = 4 * 1024 * 1024
const seconds = 4
const objects = 64

function argument(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at > 0 ? process.argv[at + 1] : undefined
}

const directory = argument('--directory') ?? join(tmpdir(), `shoal-bench-${process.pid}`)
const only = argument('--only') ?? ''
const env = createRealEnv({ name: 'bench', logLevel: 'warn' })
const collection = '1.0' as PgId
const payload = env.random.bytes(largeBytes)

interface Figure {
  readonly name: string
  readonly opsPerSecond: number
  readonly mebibytesPerSecond: number
  readonly cpuMicrosPerOp: number
}
const figures: Figure[] = []

function object(index: number): ObjectId {
  return {
    pool: 1 as PoolId,
    hash: Math.imul(index, 2654435761) >>> 0,
    namespace: '',
    name: `rbd_data.${index}`,
    snap: headSnap,
  }
}

/** Keeps `depth` operations in flight for the time given. */
async function measure(
  name: string,
  inFlight: number,
  bytes: number,
  op: (i: number) => Promise<unknown>,
): Promise<void> {
  if (!name.includes(only)) return
  let done = 0
  let next = 0
  const cpu = process.cpuUsage()
  const startedMs = env.clock.monotonicMs()
  const worker = async (): Promise<void> => {
    while (env.clock.monotonicMs() - startedMs < seconds * 1000) {
      await op(next++)
      done++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  const elapsed = (env.clock.monotonicMs() - startedMs) / 1000
  const used = process.cpuUsage(cpu)
  const figure = {
    name,
    opsPerSecond: Math.round(done / elapsed),
    mebibytesPerSecond: Math.round((done * bytes) / elapsed / 1024 / 1024),
    cpuMicrosPerOp: Math.round((used.user + used.system) / done),
  }
  figures.push(figure)
  const rss = Math.round(process.memoryUsage.rss() / 1024 / 1024)
  console.log(
    `${name.padEnd(34)} ${String(figure.opsPerSecond).padStart(8)} ops/s ${String(figure.mebibytesPerSecond).padStart(6)} MiB/s` +
      ` ${String(figure.cpuMicrosPerOp).padStart(6)} us CPU/op  rss ${rss} MiB`,
  )
}

async function rawJournal(): Promise<void> {
  const file = await env.disk.open(join(directory, 'raw'), 'create')
  const ringBytes = 128 * 1024 * 1024
  for (let offset = 0; offset < ringBytes; offset += largeBytes) await file.write([payload], offset)
  await file.datasync()
  const header = new Uint8Array(1024)
  let head = 0
  let gathering: (() => void)[] = []
  let running = false
  const flush = async (): Promise<void> => {
    running = true
    await Promise.resolve()
    while (gathering.length > 0) {
      const group = gathering
      gathering = []
      const chunks = group.flatMap((_, i) => [header, payload.subarray(i * smallBytes, (i + 1) * smallBytes)])
      const bytes = group.length * (header.length + smallBytes)
      if (head + bytes > ringBytes) head = 0
      await file.write(chunks, head)
      await file.datasync()
      head += bytes
      for (const resolve of group) resolve()
    }
    running = false
  }
  await measure('raw journal, 8 KiB, depth 64', depth, smallBytes, () => {
    return new Promise<void>((resolve) => {
      gathering.push(resolve)
      if (!running) void flush()
    })
  })
  await file.close()
}

async function main(): Promise<void> {
  mkdirSync(directory, { recursive: true })
  await rawJournal()
  const path = join(directory, 'store')
  const startedMs = env.clock.monotonicMs()
  await FileObjectStore.create(env, path, { sizeBytes: 4 * 1024 * 1024 * 1024 })
  console.log(`create: ${Math.round(env.clock.monotonicMs() - startedMs)} ms`)
  let store = await FileObjectStore.mount(env, path)
  await store.submit({ ops: [{ kind: 'create-collection', collection }] })
  for (let i = 0; i < objects; i++) {
    await store.submit({ ops: [{ kind: 'write', collection, object: object(i), offset: 0, data: payload }] })
  }
  const info = env.random.bytes(180)
  const key = (text: string): Uint8Array => new TextEncoder().encode(text)
  const place = (): { object: ObjectId; offset: number } => ({
    object: object(env.random.below(objects)),
    offset: env.random.below(largeBytes / smallBytes) * smallBytes,
  })
  const write = (i: number): Promise<void> => {
    const target = place()
    const start = (i % 500) * smallBytes
    const entries = [
      { key: key('info'), value: info },
      { key: key(`log.${String(i).padStart(12, '0')}`), value: info },
    ]
    return store.submit({
      ops: [
        { kind: 'write', collection, ...target, data: payload.slice(start, start + smallBytes) },
        { kind: 'set-xattrs', collection, object: target.object, xattrs: new Map([['_', info]]) },
        { kind: 'meta-set', collection, entries },
        {
          kind: 'meta-remove-range',
          collection,
          from: key('log.'),
          to: key(`log.${String(Math.max(0, i - 2000)).padStart(12, '0')}`),
        },
      ],
    })
  }
  await measure('write 8 KiB random, depth 64', depth, smallBytes, write)
  await measure('write 8 KiB random, depth 1', 1, smallBytes, write)
  const read = (): Promise<unknown> => {
    const { object: id, offset } = place()
    return store.read(collection, id, offset, smallBytes)
  }
  await measure('read 8 KiB random 256 MiB, depth 64', depth, smallBytes, read)
  await measure('read 8 KiB of 8 MiB, depth 64', depth, smallBytes, () =>
    store.read(
      collection,
      object(env.random.below(2)),
      env.random.below(largeBytes / smallBytes) * smallBytes,
      smallBytes,
    ),
  )
  await measure('write 4 MiB, depth 16', 16, largeBytes, (i) =>
    store.submit({
      ops: [{ kind: 'write', collection, object: object(i % objects), offset: 0, data: payload.slice() }],
    }),
  )
  await measure('read 4 MiB, depth 16', 16, largeBytes, (i) =>
    store.read(collection, object(i % objects), 0, largeBytes),
  )
  if (process.argv.includes('--perf')) console.log(store.perf())
  await store.close()
  const mountedMs = env.clock.monotonicMs()
  store = await FileObjectStore.mount(env, path)
  console.log(`mount after close: ${Math.round(env.clock.monotonicMs() - mountedMs)} ms`)
  await store.close()
  if (process.argv.includes('--record')) {
    mkdirSync(new URL('./results/', import.meta.url), { recursive: true })
    const record = { bench: 'object-store', node: process.version, figures }
    writeFileSync(new URL('./results/object-store.json', import.meta.url), `${JSON.stringify(record, null, 2)}\n`)
  }
}

try {
  await main()
} finally {
  rmSync(directory, { recursive: true, force: true })
}
