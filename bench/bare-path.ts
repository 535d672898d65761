/**
 * What the write and the read path cost at the least in this runtime on this machine: three processes and a client over
 * bare sockets, no logic. A write goes to a primary, from there to two replicas; each hashes it, appends it to its journal
 * (one write and one datasync per group of waiting writers) and then writes it to its data file; the client gets its
 * answer after all three. A read is one read of the data file. `bench/rados.ts` stands beside it: the distance is what
 * placement, logs, recovery, checksums on disk and everything else cost.
 *
 *   npx tsx --conditions=source bench/bare-path.ts [--record] [--seconds N]
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import {
  fdatasync,
  fdatasyncSync,
  mkdtempSync,
  openSync,
  read,
  rmSync,
  writeFileSync,
  writeSync,
  writev,
} from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadChecksums } from '../packages/object-store/src/checksum.ts'

const headBytes = 24
const blockBytes = 8192
const dataBytes = 256 * 1024 * 1024
const ringBytes = 128 * 1024 * 1024
const depth = 64
const osds = 3
const kinds = { write: 1, replicate: 2, committed: 3, written: 4, read: 5, data: 6 } as const

type OnFrame = (kind: number, tid: number, offset: number, payload: Buffer) => void

function frame(socket: Socket, kind: number, tid: number, offset: number, payload?: Uint8Array): void {
  const head = Buffer.allocUnsafe(headBytes)
  head.writeUInt32LE(payload?.length ?? 0, 0)
  head.writeUInt32LE(kind, 4)
  head.writeDoubleLE(tid, 8)
  head.writeDoubleLE(offset, 16)
  if (socket.writableCorked === 0) {
    socket.cork()
    setImmediate(() => socket.uncork())
  }
  socket.write(head)
  if (payload !== undefined) socket.write(payload)
}

function frames(socket: Socket, onFrame: OnFrame): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.setNoDelay(true)
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = 0
    while (rest.length - at >= headBytes) {
      const length = rest.readUInt32LE(at)
      const end = at + headBytes + length
      if (end > rest.length) break
      const payload = rest.subarray(at + headBytes, end)
      onFrame(rest.readUInt32LE(at + 4), rest.readDoubleLE(at + 8), rest.readDoubleLE(at + 16), payload)
      at = end
    }
    rest = rest.subarray(at)
  })
}

class Journal {
  private readonly journal: number
  private readonly data: number
  private queue: { readonly payload: Buffer; readonly offset: number; readonly done: () => void }[] = []
  private running = false
  private head = 0

  constructor(directory: string) {
    const zeros = Buffer.alloc(1024 * 1024)
    this.journal = openSync(join(directory, 'journal'), 'w+')
    for (let at = 0; at < ringBytes; at += zeros.length) writeSync(this.journal, zeros, 0, zeros.length, at)
    this.data = openSync(join(directory, 'data'), 'w+')
    for (let at = 0; at < dataBytes; at += 65536) writeSync(this.data, zeros, 0, 65536, at)
    fdatasyncSync(this.journal)
  }

  append(payload: Buffer, offset: number, done: () => void): void {
    this.queue.push({ payload, offset, done })
    if (this.running) return
    this.running = true
    queueMicrotask(() => this.group())
  }

  read(offset: number, done: (data: Buffer) => void): void {
    const buffer = Buffer.allocUnsafeSlow(blockBytes)
    read(this.data, buffer, 0, blockBytes, offset, () => done(buffer))
  }

  private group(): void {
    const group = this.queue.splice(0, 500)
    if (group.length === 0) {
      this.running = false
      return
    }
    const bytes = group.length * (blockBytes + 512)
    if (this.head + bytes > ringBytes) this.head = 0
    const chunks = group.flatMap(({ payload }) => [Buffer.allocUnsafe(512), payload])
    writev(this.journal, chunks, this.head, () =>
      fdatasync(this.journal, () => {
        this.head += bytes
        for (const { done } of group) done()
        for (const { payload, offset } of group) writeSync(this.data, payload, 0, payload.length, offset)
        this.group()
      }),
    )
  }
}

async function osd(index: number, directory: string): Promise<void> {
  const checksums = await loadChecksums()
  const journal = new Journal(directory)
  const peers = new Map<number, Socket>()
  const waiting = new Map<number, { left: number; readonly client: Socket; readonly tid: number }>()
  let next = 1
  const committed = (id: number): void => {
    const write = waiting.get(id)
    if (write === undefined || --write.left > 0) return
    waiting.delete(id)
    frame(write.client, kinds.written, write.tid, 0)
  }
  const server = createServer((socket) =>
    frames(socket, (kind, tid, offset, payload) => {
      if (kind === kinds.read) return journal.read(offset, (data) => frame(socket, kinds.data, tid, 0, data))
      checksums.low32(payload)
      if (kind === kinds.replicate) {
        return journal.append(payload, offset, () => frame(socket, kinds.committed, tid, 0))
      }
      const id = next++
      waiting.set(id, { left: osds, client: socket, tid })
      for (const peer of peers.values()) frame(peer, kinds.replicate, id, offset, payload)
      return journal.append(payload, offset, () => committed(id))
    }),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  process.send?.({ port: (server.address() as { port: number }).port })
  process.on('message', (ports: number[]) => {
    for (const [peer, port] of ports.entries()) {
      if (peer === index) continue
      const socket = connect(port, '127.0.0.1')
      frames(socket, (_kind, id) => committed(id))
      peers.set(peer, socket)
    }
    process.send?.({ ready: true })
  })
}

async function measure(sockets: readonly Socket[], kind: 'write' | 'read', inFlight: number, seconds: number) {
  const waiting = new Map<number, () => void>()
  for (const socket of sockets) {
    socket.removeAllListeners('data')
    frames(socket, (_kind, tid) => {
      const done = waiting.get(tid)
      waiting.delete(tid)
      done?.()
    })
  }
  const block = Buffer.alloc(blockBytes, 0xa5)
  let tid = 0
  let count = 0
  const startMs = performance.now()
  const worker = async (): Promise<void> => {
    while (performance.now() - startMs < seconds * 1000) {
      const offset = Math.floor(Math.random() * (dataBytes / blockBytes)) * blockBytes
      const socket = sockets[tid % sockets.length] as Socket
      await new Promise<void>((resolve) => {
        waiting.set(++tid, resolve)
        frame(socket, kinds[kind], tid, offset, kind === 'write' ? block : undefined)
      })
      count++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  const opsPerSecond = Math.round((count / (performance.now() - startMs)) * 1000)
  return { workload: `${kind} 8 KiB`, depth: inFlight, opsPerSecond }
}

async function main(): Promise<void> {
  const at = process.argv.indexOf('--seconds')
  const seconds = at < 0 ? 8 : Number(process.argv[at + 1])
  const directory = mkdtempSync(join(tmpdir(), 'shoal-bare-'))
  const children: ChildProcess[] = []
  try {
    const ports: number[] = []
    for (let i = 0; i < osds; i++) {
      const child = fork(import.meta.filename, ['osd', String(i), mkdtempSync(join(directory, 'osd-'))])
      children.push(child)
      const [{ port }] = (await once(child, 'message')) as [{ port: number }]
      ports.push(port)
    }
    for (const child of children) {
      child.send(ports)
      await once(child, 'message')
    }
    const sockets = ports.map((port) => connect(port, '127.0.0.1'))
    const results = []
    for (const [kind, inFlight] of [
      ['write', depth],
      ['read', depth],
      ['write', 1],
      ['read', 1],
    ] as const) {
      results.push(await measure(sockets, kind, inFlight, seconds))
    }
    for (const socket of sockets) socket.destroy()
    console.table(results)
    if (process.argv.includes('--record')) {
      const machine = { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, node: process.version }
      const report = `${JSON.stringify({ machine, osds, results }, undefined, 2)}\n`
      writeFileSync(new URL('results/bare-path.json', import.meta.url), report)
    }
  } finally {
    for (const child of children) child.kill('SIGKILL')
    rmSync(directory, { recursive: true })
  }
}

if (process.argv[2] === 'osd') await osd(Number(process.argv[3]), process.argv[4] as string)
else await main()
