/**
 * A machine in memory whose power can be cut at any step. A step is a write, a datasync or a batch. What was not synced
 * is kept, dropped or torn at 512-byte sectors, as the seed says; batches survive as a prefix.
 */
import {
  type Clock,
  ClusterError,
  compareBytes,
  type Disk,
  type Env,
  equalBytes,
  type FileHandle,
  type KeyRange,
  type KeyValueOp,
  type KeyValueStore,
  type Log,
  type Network,
  Prng,
  type Timers,
} from '@shoal/base'
import { simCompression } from '@shoal/testkit'

interface Write {
  readonly offset: number
  readonly bytes: Uint8Array
}

interface FakeFile {
  content: Uint8Array
  durable: Uint8Array
  unsynced: Write[]
}

interface FakeLevel {
  rows: (readonly [Uint8Array, Uint8Array])[]
  durable: (readonly [Uint8Array, Uint8Array])[]
  unsynced: (readonly KeyValueOp[])[]
}

const sector = 512
const never = new Promise<never>(() => undefined)
const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }

export class FakeMachine {
  readonly files = new Map<string, FakeFile>()
  readonly levels = new Map<string, FakeLevel>()
  private readonly locks = new Set<string>()
  private readonly prng: Prng
  private life = 0
  steps = 0
  crashAtStep = Number.POSITIVE_INFINITY
  aborts: string[] = []
  freeBytes = 2 ** 40
  failDatasync = false
  private onCrash: () => void = () => undefined
  crashed: Promise<void> = new Promise(() => undefined)

  constructor(seed: number) {
    this.prng = new Prng(seed)
  }

  /** Environment of one life of the process: dead for good after `cutPower`. */
  env(): Env {
    const life = ++this.life
    this.crashed = new Promise((resolve) => {
      this.onCrash = resolve
    })
    const alive = (): boolean => life === this.life
    let now = 0
    const clock: Clock = { monotonicMs: () => (now += 0.01), wallMs: () => 0 }
    const timers: Timers = {
      after: () => ({ cancel() {} }),
      soon: (callback) => setImmediate(() => alive() && callback()),
    }
    return {
      clock,
      timers,
      random: this.prng.fork(),
      disk: this.disk(alive),
      compression: simCompression(async () => (alive() ? undefined : never)),
      keyValue: { open: async (path) => this.level(path, alive) },
      network: undefined as unknown as Network,
      log: quiet,
      abort: (reason): never => {
        this.aborts.push(reason)
        this.life++
        this.onCrash()
        return undefined as never
      },
    }
  }

  /** Ends the life of the process and settles what the disk kept. */
  cutPower(): void {
    this.life++
    this.locks.clear()
    for (const file of this.files.values()) {
      let content = file.durable
      for (const write of file.unsynced) content = this.tear(content, write)
      file.content = content
      file.durable = content.slice()
      file.unsynced = []
    }
    for (const level of this.levels.values()) {
      const kept = this.prng.below(level.unsynced.length + 1)
      for (const ops of level.unsynced.slice(0, kept)) level.durable = applyOps(level.durable, ops)
      level.rows = level.durable
      level.unsynced = []
    }
    this.onCrash()
  }

  /** A copy of the machine's durable state, for another future. */
  file(path: string): FakeFile {
    const file = this.files.get(path)
    if (file === undefined) throw new ClusterError('ENOENT', path)
    return file
  }

  private tear(content: Uint8Array, write: Write): Uint8Array {
    const mode = this.prng.below(3)
    if (mode === 0) return content
    const end = Math.max(content.length, write.offset + write.bytes.length)
    const next = new Uint8Array(end)
    next.set(content)
    for (let at = 0; at < write.bytes.length; ) {
      const length = Math.min(sector - ((write.offset + at) % sector), write.bytes.length - at)
      if (mode === 1 || this.prng.below(2) === 0) next.set(write.bytes.subarray(at, at + length), write.offset + at)
      at += length
    }
    return next
  }

  /** False when the process died at this step or before. */
  private step(alive: () => boolean): boolean {
    if (!alive()) return false
    if (++this.steps === this.crashAtStep) {
      this.cutPower()
      return false
    }
    return true
  }

  private handle(file: FakeFile, alive: () => boolean): FileHandle {
    const handle: FileHandle = {
      read: async (buffer, offset) => {
        await Promise.resolve()
        if (!alive()) return never
        const bytes = file.content.subarray(offset, offset + buffer.length)
        buffer.set(bytes)
        return bytes.length
      },
      write: async (chunks, offset) => {
        let at = offset
        for (const chunk of chunks) {
          const bytes = chunk.slice()
          if (!alive()) return never
          file.unsynced.push({ offset: at, bytes })
          if (at + bytes.length > file.content.length) file.content = grown(file.content, at + bytes.length)
          file.content.set(bytes, at)
          at += bytes.length
        }
        if (!this.step(alive)) return never
        await Promise.resolve()
      },
      datasync: async () => {
        if (this.failDatasync) throw new Error('EIO: datasync')
        if (!this.step(alive)) return never
        await Promise.resolve()
        await Promise.resolve()
        if (!alive()) return never
        file.durable = file.content.slice()
        file.unsynced = []
      },
      writeDurable: async (chunks, offset) => {
        await handle.write(chunks, offset)
        await handle.datasync()
      },
      writeMany: async (writes) => {
        await Promise.all(writes.map(({ chunks, offset }) => handle.write(chunks, offset)))
      },
      truncate: async (sizeBytes) => {
        if (!alive()) return never
        file.content =
          sizeBytes > file.content.length ? grown(file.content, sizeBytes) : file.content.slice(0, sizeBytes)
        file.durable = file.content.slice()
      },
      sizeBytes: async () => file.content.length,
      close: async () => undefined,
    }
    return handle
  }

  private disk(alive: () => boolean): Disk {
    const inside = (path: string) => [...this.files.keys()].filter((name) => name.startsWith(`${path}/`))
    return {
      open: async (path, mode) => {
        let file = this.files.get(path)
        if (file === undefined) {
          if (mode !== 'create') throw new ClusterError('ENOENT', path)
          file = { content: new Uint8Array(0), durable: new Uint8Array(0), unsynced: [] }
          this.files.set(path, file)
        }
        return this.handle(file, alive)
      },
      makeDirectory: async () => undefined,
      list: async (path) => inside(path).map((name) => name.slice(path.length + 1)),
      exists: async (path) => this.files.has(path) || inside(path).length > 0,
      remove: async (path) => {
        for (const name of [path, ...inside(path)]) {
          this.files.delete(name)
          this.levels.delete(name)
        }
      },
      rename: async () => undefined,
      syncDirectory: async () => undefined,
      readFile: async (path) => this.file(path).content.slice(),
      writeFileAtomic: async (path, content) => {
        this.files.set(path, { content: content.slice(), durable: content.slice(), unsynced: [] })
      },
      space: async () => ({ totalBytes: 2 ** 40, freeBytes: this.freeBytes }),
      lock: async (path) => {
        if (this.locks.has(path)) throw new ClusterError('EBUSY', `${path} is locked`)
        this.locks.add(path)
        return {
          release: async () => {
            this.locks.delete(path)
          },
        }
      },
    }
  }

  private level(path: string, alive: () => boolean): KeyValueStore {
    const level = this.levels.get(path) ?? { rows: [], durable: [], unsynced: [] }
    this.levels.set(path, level)
    return {
      get: async (key) => {
        await Promise.resolve()
        if (!alive()) return never
        return level.rows[lowerBound(level.rows, key)]?.[0] !== undefined &&
          equalBytes((level.rows[lowerBound(level.rows, key)] as (typeof level.rows)[0])[0], key)
          ? (level.rows[lowerBound(level.rows, key)] as (typeof level.rows)[0])[1]
          : undefined
      },
      batch: async (ops, { sync }) => {
        if (!alive()) return never
        const copy = ops.map((op) =>
          op.kind === 'put' ? { ...op, key: op.key.slice(), value: op.value.slice() } : { ...op, key: op.key.slice() },
        )
        level.unsynced.push(copy)
        level.rows = applyOps(level.rows, copy)
        if (!this.step(alive)) return never
        await Promise.resolve()
        if (!sync) return
        level.durable = level.rows
        level.unsynced = []
      },
      entries: async (range: KeyRange) => {
        await Promise.resolve()
        if (!alive()) return never
        const from = range.from === undefined ? 0 : lowerBound(level.rows, range.from)
        const to = range.to === undefined ? level.rows.length : lowerBound(level.rows, range.to)
        return level.rows.slice(from, Math.min(to, from + (range.limit ?? Number.MAX_SAFE_INTEGER)))
      },
      close: async () => undefined,
    }
  }
}

function grown(content: Uint8Array, sizeBytes: number): Uint8Array {
  const next = new Uint8Array(sizeBytes)
  next.set(content)
  return next
}

type Rows = readonly (readonly [Uint8Array, Uint8Array])[]

function lowerBound(rows: Rows, key: Uint8Array): number {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes((rows[middle] as Rows[0])[0], key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

function applyOps(rows: Rows, ops: readonly KeyValueOp[]): (readonly [Uint8Array, Uint8Array])[] {
  const next = [...rows]
  for (const op of ops) {
    const at = lowerBound(next, op.key)
    const row = next[at]
    const there = row !== undefined && equalBytes(row[0], op.key)
    if (op.kind === 'put') next.splice(at, there ? 1 : 0, [op.key, op.value])
    else if (there) next.splice(at, 1)
  }
  return next
}
