/**
 * Round trips between two processes over loopback, 64 in flight: small both ways, 8 KiB there, 8 KiB back. The messenger
 * as it is (`crc`) and with proof and encryption (`secure`); beside it the same bytes over bare sockets, each message
 * behind a length: what TCP in this runtime can do at all.
 *
 *   npx tsx --conditions=source bench/messenger.ts [--record]
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { type Address, address, entityName } from '../packages/base/src/index.ts'
import { Messenger, type MessengerSecurity, openSecurity, securityFrom } from '../packages/messenger/src/index.ts'
import { createRealEnv } from '../packages/runtime/src/index.ts'

const depth = 64
const seconds = 2
const rounds = 3
const header = new Uint8Array(64).fill(1)
const page = new Uint8Array(8192).fill(2)

/** What goes there and comes back, besides a header of 64 bytes each. */
const workloads = [
  { name: 'small', request: 0, reply: 0 },
  { name: 'write 8 KiB', request: 8192, reply: 0 },
  { name: 'read 8 KiB', request: 0, reply: 8192 },
] as const

const env = createRealEnv({ name: 'bench', logLevel: 'warn' })
const secure = securityFrom({ ms_mode: 'secure' }, new Uint8Array(32).fill(3))

const replyType = (bytes: number): number => (bytes === 0 ? 1 : 2)
const bodyOf = (bytes: number): Uint8Array[] => (bytes === 0 ? [] : [page])

// The serving process

async function listen(security: MessengerSecurity): Promise<Address> {
  const messenger = await Messenger.create(
    env,
    { name: entityName('osd', 0), nonce: 1, fsid: 'bench', security },
    {
      onSession: (session) => {
        session.onFrame = ({ type, tid }) =>
          session.send({ type, tid, traceId: 0, header, payload: type === 2 ? [page] : [] })
      },
      onPeerFrame: () => undefined,
      onPeerReset: () => undefined,
    },
  )
  return messenger.bind(address('127.0.0.1:0'))
}

async function serve(): Promise<void> {
  const bound = { messenger: await listen(openSecurity), secure: await listen(secure) }
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined)
    onMessages(socket, (type) => sendRaw(socket, type, type === 2 ? 8192 : 0))
  })
  server.listen(0, '127.0.0.1', () => {
    process.send?.({ ...bound, rawPort: (server.address() as { port: number }).port })
  })
  process.on('disconnect', () => process.exit(0))
}

// Bare sockets: u32 length, u32 type, 64 bytes of header, body

function sendRaw(socket: Socket, type: number, bodyBytes: number): void {
  if (socket.writableCorked === 0) {
    socket.cork()
    setImmediate(() => socket.uncork())
  }
  const head = Buffer.allocUnsafe(72)
  head.writeUInt32LE(72 + bodyBytes, 0)
  head.writeUInt32LE(type, 4)
  socket.write(head)
  if (bodyBytes > 0) socket.write(page)
}

function onMessages(socket: Socket, onMessage: (type: number) => void): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= 8 && rest.length >= rest.readUInt32LE(0)) {
      const type = rest.readUInt32LE(4)
      rest = rest.subarray(rest.readUInt32LE(0))
      onMessage(type)
    }
  })
}

// The asking process

interface Transport {
  send(tid: number): void
  close(): void
}

/** Round trips per second, and this process's microseconds of CPU for each. */
async function measure(
  open: (onReply: () => void) => Promise<Transport>,
): Promise<{ readonly perSecond: number; readonly cpuMicros: number }> {
  let done = 0
  let next = 0
  let running = true
  const transport = await open(() => {
    done++
    if (running) transport.send(next++)
  })
  const cpu = process.cpuUsage()
  const startedMs = env.clock.monotonicMs()
  while (next < depth) transport.send(next++)
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  running = false
  const elapsedMs = env.clock.monotonicMs() - startedMs
  const { user, system } = process.cpuUsage(cpu)
  transport.close()
  return { perSecond: Math.round((done * 1000) / elapsedMs), cpuMicros: Math.round(((user + system) / done) * 10) / 10 }
}

function client(security: MessengerSecurity): Promise<Messenger> {
  return Messenger.create(
    env,
    { name: entityName('client', 1), nonce: 2, fsid: 'bench', security },
    { onSession: () => undefined, onPeerFrame: () => undefined, onPeerReset: () => undefined },
  )
}

interface Ports {
  readonly messenger: Address
  readonly secure: Address
  readonly rawPort: number
}

async function main(): Promise<void> {
  const child = fork(import.meta.filename, ['serve'], { execArgv: process.execArgv })
  const [ports] = (await once(child, 'message')) as [Ports]
  const messengers = { messenger: await client(openSecurity), secure: await client(secure) }
  const results: { workload: string; messenger: unknown; secure: unknown; rawTcp: unknown }[] = []
  for (const { name, request, reply } of workloads) {
    const over = (kind: 'messenger' | 'secure') => async (onReply: () => void) => {
      const session = messengers[kind].connect(ports[kind])
      session.onFrame = onReply
      return {
        send: (tid: number) =>
          session.send({ type: replyType(reply), tid, traceId: 0, header, payload: bodyOf(request) }),
        close: () => session.close(),
      }
    }
    const overTcp = async (onReply: () => void): Promise<Transport> => {
      const socket = connect({ port: ports.rawPort, host: '127.0.0.1', noDelay: true })
      await once(socket, 'connect')
      onMessages(socket, onReply)
      return { send: () => sendRaw(socket, replyType(reply), request), close: () => socket.destroy() }
    }
    const best: Record<'messenger' | 'secure' | 'rawTcp', { perSecond: number; cpuMicros: number }> = {
      messenger: { perSecond: 0, cpuMicros: 0 },
      secure: { perSecond: 0, cpuMicros: 0 },
      rawTcp: { perSecond: 0, cpuMicros: 0 },
    }
    for (let round = 0; round < rounds; round++) {
      for (const [kind, open] of [
        ['messenger', over('messenger')],
        ['secure', over('secure')],
        ['rawTcp', overTcp],
      ] as const) {
        const figure = await measure(open)
        if (figure.perSecond > best[kind].perSecond) best[kind] = figure
      }
    }
    results.push({ workload: name, ...best })
    console.log(
      `${name.padEnd(12)} messenger ${String(best.messenger.perSecond).padStart(7)} round trips/s, ` +
        `${best.messenger.cpuMicros} us CPU each; secure ${String(best.secure.perSecond).padStart(7)}/s, ` +
        `${best.secure.cpuMicros} us, ${Math.round((100 * best.secure.perSecond) / best.messenger.perSecond)} %; bare TCP ${String(best.rawTcp.perSecond).padStart(7)}/s, ` +
        `${best.rawTcp.cpuMicros} us`,
    )
  }
  if (process.argv.includes('--record')) {
    const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version }
    writeFileSync(
      join(import.meta.dirname, 'results', 'messenger.json'),
      `${JSON.stringify({ depth, seconds, machine, results }, null, 2)}\n`,
    )
  }
  for (const messenger of Object.values(messengers)) await messenger.close()
  child.disconnect()
}

await (process.argv[2] === 'serve' ? serve() : main())
