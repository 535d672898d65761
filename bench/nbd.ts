/**
 * The NBD gateway alone: a server over a disk in memory in a process of its own, one client over TCP with 64 requests in
 * flight. With an address, the same load on a gateway that runs already (the export is overwritten).
 *
 *   npx tsx --conditions=source bench/nbd.ts [--record] [--seconds N] [--export HOST:PORT/NAME]
 */
import { fork } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { type Address, Prng } from '../packages/base/src/index.ts'
import { type BlockDevice, NbdServer } from '../packages/gateway-nbd/src/index.ts'
import { createRealEnv } from '../packages/runtime/src/index.ts'

const memoryBytes = 512 * 1024 * 1024
const depth = 64

function argument(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : process.argv[at + 1]
}

/** As little as a device can do, so that the protocol is what is measured. */
function memoryDevice(): BlockDevice {
  // Touched beforehand: the first touch of a page costs more than the request.
  const bytes = new Uint8Array(memoryBytes).fill(1)
  return {
    sizeBytes: memoryBytes,
    readOnly: false,
    description: 'memory',
    preferredBlockBytes: 4096,
    read: async (offset, length) => [{ kind: 'data', data: bytes.subarray(offset, offset + length) }],
    write: async (offset, data) => bytes.set(data, offset),
    flush: async () => undefined,
    trim: async () => undefined,
    writeZeroes: async () => undefined,
    extents: async (_offset, length) => [{ length, allocated: true }],
  }
}

async function serve(): Promise<void> {
  const device = memoryDevice()
  const server = new NbdServer(createRealEnv({ name: 'bench', logLevel: 'warn' }), {
    list: async () => [],
    open: async (name) => ({ name, device, close: async () => undefined }),
    snapshots: async () => [],
  })
  process.send?.(await server.listen('127.0.0.1:0' as Address))
  process.once('disconnect', () => process.exit(0))
}

/** The least a client can do: simple replies, and cookies that number the requests. */
class NbdClient {
  sizeBytes = 0
  private readonly socket: Socket
  private readonly waiting = new Map<number, { readonly bytes: number; readonly done: () => void }>()
  private chunks: Buffer[] = []
  private received = 0
  private wanted = 0
  private wake: () => void = () => undefined
  private nextCookie = 1

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk) => {
      this.chunks.push(chunk)
      this.received += chunk.length
      if (this.received >= this.wanted) this.wake()
    })
  }

  static async connect(host: string, port: number, name: string): Promise<NbdClient> {
    const client = new NbdClient(connect(port, host))
    await client.handshake(name)
    void client.receive()
    return client
  }

  private async handshake(name: string): Promise<void> {
    await this.take(18)
    const exportName = Buffer.from(name)
    const hello = Buffer.alloc(20)
    hello.writeUInt32BE(3, 0)
    hello.write('IHAVEOPT', 4)
    hello.writeUInt32BE(1, 12)
    hello.writeUInt32BE(exportName.length, 16)
    this.socket.write(Buffer.concat([hello, exportName]))
    this.sizeBytes = Number((await this.take(10)).readBigUInt64BE(0))
  }

  /** Resolves with the reply; a write sends `data`, a read throws the bytes away. */
  request(type: number, offset: number, length: number, data?: Uint8Array): Promise<void> {
    const header = Buffer.alloc(28)
    const cookie = this.nextCookie++
    header.writeUInt32BE(0x25609513, 0)
    header.writeUInt16BE(type, 6)
    header.writeBigUInt64BE(BigInt(cookie), 8)
    header.writeBigUInt64BE(BigInt(offset), 16)
    header.writeUInt32BE(length, 24)
    this.socket.cork()
    this.socket.write(header)
    if (data !== undefined) this.socket.write(data)
    process.nextTick(() => this.socket.uncork())
    return new Promise((done) => this.waiting.set(cookie, { bytes: type === 0 ? length : 0, done }))
  }

  end(): void {
    this.socket.destroy()
  }

  private async receive(): Promise<void> {
    for (;;) {
      while (this.received < 16) await this.more(16)
      const header = this.takeNow(16)
      if (header.readUInt32BE(4) !== 0) throw new Error(`the server answered with error ${header.readUInt32BE(4)}`)
      const cookie = Number(header.readBigUInt64BE(8))
      const waiting = this.waiting.get(cookie)
      if (waiting === undefined) throw new Error('an answer to nothing')
      this.waiting.delete(cookie)
      while (this.received < waiting.bytes) await this.more(waiting.bytes)
      this.skip(waiting.bytes)
      waiting.done()
    }
  }

  private async take(bytes: number): Promise<Buffer> {
    while (this.received < bytes) await this.more(bytes)
    return this.takeNow(bytes)
  }

  private more(bytes: number): Promise<void> {
    this.wanted = bytes
    return new Promise((resolve) => {
      this.wake = resolve
    })
  }

  private takeNow(bytes: number): Buffer {
    const first = this.chunks[0] as Buffer
    if (first.length < bytes) this.chunks = [Buffer.concat(this.chunks)]
    const head = (this.chunks[0] as Buffer).subarray(0, bytes)
    this.skip(bytes)
    return head
  }

  private skip(bytes: number): void {
    this.received -= bytes
    let left = bytes
    let used = 0
    while (left > 0) {
      const chunk = this.chunks[used] as Buffer
      if (chunk.length > left) {
        this.chunks[used] = chunk.subarray(left)
        break
      }
      left -= chunk.length
      used++
    }
    if (used > 0) this.chunks.splice(0, used)
  }
}

interface Figure {
  readonly name: string
  readonly opsPerSecond: number
  readonly mebibytesPerSecond: number
  readonly latencyMsP50: number
  readonly latencyMsP99: number
}

async function measure(
  name: string,
  inFlight: number,
  bytes: number,
  seconds: number,
  op: () => Promise<void>,
): Promise<Figure> {
  const latenciesMs: number[] = []
  const startedMs = performance.now()
  const endMs = startedMs + seconds * 1000
  const worker = async (): Promise<void> => {
    for (let beganMs = performance.now(); beganMs < endMs; ) {
      await op()
      const nowMs = performance.now()
      latenciesMs.push(nowMs - beganMs)
      beganMs = nowMs
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  const elapsed = (performance.now() - startedMs) / 1000
  latenciesMs.sort((a, b) => a - b)
  const at = (share: number): number => Number((latenciesMs[Math.floor(latenciesMs.length * share)] ?? 0).toFixed(3))
  const figure = {
    name,
    opsPerSecond: Math.round(latenciesMs.length / elapsed),
    mebibytesPerSecond: Math.round((latenciesMs.length * bytes) / elapsed / 1024 / 1024),
    latencyMsP50: at(0.5),
    latencyMsP99: at(0.99),
  }
  console.log(
    `${name.padEnd(36)} ${String(figure.opsPerSecond).padStart(8)} ops/s ` +
      `${String(figure.mebibytesPerSecond).padStart(6)} MiB/s  p50 ${figure.latencyMsP50} ms  p99 ${figure.latencyMsP99} ms`,
  )
  return figure
}

async function run(target: string): Promise<readonly Figure[]> {
  const seconds = Number(argument('--seconds') ?? 4)
  const [, host, port, name] = /^([^:]+):(\d+)(?:\/(.*))?$/.exec(target) ?? []
  const client = await NbdClient.connect(host as string, Number(port), name ?? '')
  const random = new Prng(1)
  const [small, large] = [8192, 512 * 1024]
  const data = random.bytes(large)
  const anywhere = (): number => random.below(Math.floor(client.sizeBytes / small)) * small
  let at = 0
  const next = (): number => {
    at = at + 2 * large > client.sizeBytes ? 0 : at + large
    return at
  }
  const write = (): Promise<void> => client.request(1, anywhere(), small, data.subarray(0, small))
  const read = (): Promise<void> => client.request(0, anywhere(), small)
  const figures = [
    await measure('write 512 KiB sequential, depth 64', depth, large, seconds, () =>
      client.request(1, next(), large, data),
    ),
    await measure('read 512 KiB sequential, depth 64', depth, large, seconds, () => client.request(0, next(), large)),
    await measure('write 8 KiB random, depth 64', depth, small, seconds, write),
    await measure('read 8 KiB random, depth 64', depth, small, seconds, read),
    await measure('write 8 KiB random, depth 1', 1, small, seconds, write),
    await measure('read 8 KiB random, depth 1', 1, small, seconds, read),
  ]
  client.end()
  return figures
}

async function benchmark(): Promise<void> {
  const target = argument('--export')
  if (target !== undefined) {
    await run(target)
    return
  }
  const server = fork(new URL(import.meta.url), ['--serve'])
  const listening = await new Promise<string>((resolve) =>
    server.once('message', (message) => resolve(message as string)),
  )
  const figures = await run(listening)
  server.disconnect()
  if (!process.argv.includes('--record')) return
  const result = { bench: 'nbd', node: process.version, figures }
  writeFileSync(new URL('results/nbd.json', import.meta.url), `${JSON.stringify(result, null, 2)}\n`)
}

await (process.argv.includes('--serve') ? serve() : benchmark())
