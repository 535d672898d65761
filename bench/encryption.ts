/**
 * Encryption at rest: what the ciphers cost per unit and record, and one object store with and without: 8 KiB writes with
 * their metadata, reads of 8 KiB, writes of 4 MiB, and a checkpoint of what was written.
 *
 *   npx tsx --conditions=source bench/encryption.ts [--directory DIR] [--seconds N] [--record]
 */
import { createCipheriv } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PgId, PoolId } from '../packages/base/src/index.ts'
import { FileObjectStore } from '../packages/object-store/src/index.ts'
import { createRealEnv } from '../packages/runtime/src/index.ts'
import { headSnap, type ObjectId } from '../packages/wire/src/index.ts'

function argument(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at > 0 ? process.argv[at + 1] : undefined
}

const mebibyte = 1024 * 1024
const smallBytes = 8192
const objects = 64
const directory = argument('--directory') ?? join(tmpdir(), `shoal-bench-${process.pid}`)
const seconds = Number(argument('--seconds') ?? 3)
const env = createRealEnv({ name: 'bench', logLevel: 'warn' })
const collection = '1.0' as PgId
const payload = env.random.bytes(4 * mebibyte)
const figures: Record<string, string | number>[] = []

function report(figure: Record<string, string | number>): void {
  figures.push(figure)
  console.log(
    Object.entries(figure)
      .map(([name, value]) => `${name} ${value}`)
      .join('  '),
  )
}

function cipherCost(name: string, keyBytes: number, ivBytes: number, bytes: number): void {
  const [key, iv, plain] = [env.random.bytes(keyBytes), env.random.bytes(ivBytes), env.random.bytes(bytes)]
  const cpu = process.cpuUsage()
  let done = 0
  for (let used = 0; used < seconds * 5e5; used = process.cpuUsage(cpu).user) {
    for (let i = 0; i < 100; i++) createCipheriv(name, key, iv).update(plain)
    done += 100
  }
  const { user, system } = process.cpuUsage(cpu)
  report({ cipher: name, bytes, cpuMicros: Number(((user + system) / done).toFixed(2)) })
}

const object = (index: number): ObjectId => ({
  pool: 1 as PoolId,
  hash: Math.imul(index, 2654435761) >>> 0,
  namespace: '',
  name: `rbd_data.${index}`,
  snap: headSnap,
})

async function measure(what: string, inFlight: number, op: (i: number) => Promise<unknown>): Promise<object> {
  const cpu = process.cpuUsage()
  const startedMs = env.clock.monotonicMs()
  let next = 0
  let done = 0
  const lane = async (): Promise<void> => {
    while (env.clock.monotonicMs() - startedMs < seconds * 1000) {
      await op(next++)
      done++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  const { user, system } = process.cpuUsage(cpu)
  return {
    [`${what}PerSecond`]: Math.round(done / ((env.clock.monotonicMs() - startedMs) / 1000)),
    [`${what}CpuMicros`]: Math.round((user + system) / done),
  }
}

async function store(encrypted: boolean): Promise<void> {
  const path = join(directory, 'store')
  const storeKey = encrypted ? env.random.bytes(32) : undefined
  await FileObjectStore.create(env, path, { sizeBytes: 2048 * mebibyte, storeKey })
  const opened = await FileObjectStore.mount(env, path, { storeKey })
  await opened.submit({ ops: [{ kind: 'create-collection', collection }] })
  const whole = (i: number): Promise<void> =>
    opened.submit({
      ops: [{ kind: 'write', collection, object: object(i % objects), offset: 0, data: payload.slice() }],
    })
  for (let i = 0; i < objects; i++) await whole(i)
  const place = (): { object: ObjectId; offset: number } => ({
    object: object(env.random.below(objects)),
    offset: env.random.below(payload.length / smallBytes) * smallBytes,
  })
  const info = env.random.bytes(180)
  const writes = await measure('write8KiB', 64, (i) => {
    const target = place()
    const key = new TextEncoder().encode(`log.${String(i).padStart(12, '0')}`)
    return opened.submit({
      ops: [
        { kind: 'write', collection, ...target, data: payload.slice(0, smallBytes) },
        { kind: 'set-xattrs', collection, object: target.object, xattrs: new Map([['_', info]]) },
        { kind: 'meta-set', collection, entries: [{ key, value: info }] },
      ],
    })
  })
  const startedMs = env.clock.monotonicMs()
  await opened.checkpoint()
  const checkpointMs = Math.round(env.clock.monotonicMs() - startedMs)
  const reads = await measure('read8KiB', 64, () => {
    const target = place()
    return opened.read(collection, target.object, target.offset, smallBytes)
  })
  const large = await measure('write4MiB', 4, whole)
  report({ store: encrypted ? 'encrypted' : 'plain', ...writes, checkpointMs, ...reads, ...large })
  await opened.close()
  rmSync(path, { recursive: true, force: true })
}

try {
  mkdirSync(directory, { recursive: true })
  cipherCost('aes-256-xts', 64, 16, 4096)
  cipherCost('aes-256-ctr', 32, 16, 512)
  cipherCost('aes-256-ctr', 32, 16, 8192)
  cipherCost('aes-256-gcm', 32, 12, 4096)
  await store(false)
  await store(true)
  if (process.argv.includes('--record')) {
    const record = { bench: 'encryption', node: process.version, figures }
    writeFileSync(new URL('./results/encryption.json', import.meta.url), `${JSON.stringify(record, null, 2)}\n`)
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
