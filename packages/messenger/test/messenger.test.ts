/** Sessions over real TCP, with a proxy between them that cuts connections where it likes. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { type Address, address, type EntityName, entityName, Prng } from '@shoal/base'
import {
  type LossySession,
  Messenger,
  type MessengerSecurity,
  openSecurity,
  type ReceivedFrame,
} from '@shoal/messenger'
import { createRealEnv } from '@shoal/runtime'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { securities } from './support/security.ts'

const env = createRealEnv({ name: 'test', logLevel: 'error' })
let security: MessengerSecurity = openSecurity
const open: { close(): Promise<void> | void }[] = []
afterEach(async () => {
  for (const one of open.splice(0)) await one.close()
})

interface EndPoint {
  readonly messenger: Messenger
  readonly address: Address
  readonly frames: ReceivedFrame[]
  readonly sessions: LossySession[]
  readonly resets: EntityName[]
}

async function endPoint(name: EntityName, nonce: number, fsid = 'cluster', echo = false): Promise<EndPoint> {
  const frames: ReceivedFrame[] = []
  const sessions: LossySession[] = []
  const resets: EntityName[] = []
  const messenger = await Messenger.create(
    env,
    { name, nonce, fsid, security },
    {
      onSession: (session) => {
        sessions.push(session)
        session.onFrame = (frame) => {
          frames.push(frame)
          if (echo)
            session.send({
              type: frame.type,
              tid: frame.tid,
              traceId: 0,
              header: frame.header,
              payload: [frame.payload],
            })
        }
      },
      onPeerFrame: (_peer, frame) => frames.push(frame),
      onPeerReset: (peer) => resets.push(peer),
    },
  )
  open.push(messenger)
  return { messenger, address: await messenger.bind(address('127.0.0.1:0')), frames, sessions, resets }
}

/** Passes bytes on in both directions, until it has passed a drawn number of them: then it cuts. */
async function flakyProxy(target: Address, seed: number): Promise<Address> {
  const random = new Prng(seed)
  const sockets = new Set<Socket>()
  const server: Server = createServer((near) => {
    const far = connect(Number(target.split(':')[1]), '127.0.0.1')
    let left = 1 + random.below(200_000)
    const pass = (from: Socket, to: Socket): void => {
      sockets.add(from)
      from.on('error', () => undefined)
      from.on('close', () => to.destroy())
      from.on('data', (chunk) => {
        const part = chunk.subarray(0, left)
        left -= part.length
        to.write(part)
        if (left > 0) return
        near.destroy()
        far.destroy()
      })
    }
    pass(near, far)
    pass(far, near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  open.push({
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  })
  return address(`127.0.0.1:${(server.address() as { port: number }).port}`)
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

const frame = (
  tid: number,
  payload: Uint8Array[] = [],
  type = 7,
): { type: number; tid: number; traceId: number; header: Uint8Array; payload: Uint8Array[] } => ({
  type,
  tid,
  traceId: 9,
  header: new TextEncoder().encode(`header ${tid}`),
  payload,
})

describe.each(securities)('%s', (_name, each) => {
  beforeAll(() => {
    security = each
  })

  describe('lossy sessions', () => {
    test('carry frames both ways, payload of every size intact', async () => {
      const server = await endPoint(entityName('osd', 0), 1, 'cluster', true)
      const client = await endPoint(entityName('client', 5), 2)
      const session = client.messenger.connect(server.address)
      const echoed: ReceivedFrame[] = []
      session.onFrame = (one) => echoed.push(one)
      const random = new Prng(1)
      const sizes = [0, 1, 4096, 65_535, 65_536, 200_001, 4 * 1024 * 1024, 3]
      const payloads = sizes.map((size) => random.bytes(size))
      payloads.forEach((payload, tid) => session.send(frame(tid, [payload.subarray(0, 10), payload.subarray(10)])))
      await until(() => echoed.length === sizes.length)
      echoed.forEach((one, tid) => {
        expect(one.tid).toBe(tid)
        expect(Buffer.compare(one.payload, payloads[tid] as Uint8Array)).toBe(0)
      })
      expect(session.peer).toEqual({ name: 'osd.0', nonce: 1, features: 0 })
      expect(server.sessions[0]?.peer).toEqual({ name: 'client.5', nonce: 2, features: 0 })
    })

    test('a reset is told once', async () => {
      const server = await endPoint(entityName('osd', 0), 1)
      const client = await endPoint(entityName('client', 5), 2)
      const session = client.messenger.connect(server.address)
      let resets = 0
      session.onReset = () => resets++
      session.send(frame(1))
      await until(() => server.frames.length === 1)
      server.sessions[0]?.close()
      await until(() => resets > 0)
      session.close()
      session.send(frame(2))
      expect(resets).toBe(1)
    })

    test('another cluster is refused', async () => {
      const server = await endPoint(entityName('osd', 0), 1, 'theirs')
      const client = await endPoint(entityName('client', 5), 2, 'ours')
      const session = client.messenger.connect(server.address)
      await new Promise<void>((resolve) => {
        session.onReset = () => resolve()
      })
      expect(server.messenger.counters.protocolErrors).toBe(1)
      expect(server.sessions).toEqual([])
    })
  })

  describe('peers', () => {
    test.each([1, 2, 3, 4])(
      'every message arrives exactly once and in order, however often the connection is cut (seed %i)',
      async (seed) => {
        const receiver = await endPoint(entityName('osd', 1), 1)
        const sender = await endPoint(entityName('osd', 2), 2)
        const outbox = sender.messenger.peer(entityName('osd', 1), await flakyProxy(receiver.address, seed))
        const random = new Prng(seed)
        const count = 150
        for (let tid = 0; tid < count; tid++) {
          outbox.send(frame(tid, [random.bytes(random.below(20_000))]))
          if (tid % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1))
        }
        await until(() => receiver.frames.length >= count && outbox.pendingBytes === 0)
        expect(receiver.frames.map((one) => one.tid)).toEqual(Array.from({ length: count }, (_, tid) => tid))
        expect(receiver.messenger.counters.connectionsAccepted).toBeGreaterThan(3)
        expect(sender.resets).toEqual([])
      },
    )

    test('a peer that was started again is told, and nothing is sent to the wrong run', async () => {
      const first = await endPoint(entityName('osd', 1), 1)
      const sender = await endPoint(entityName('osd', 2), 2)
      const outbox = sender.messenger.peer(entityName('osd', 1), first.address)
      outbox.send(frame(1))
      await until(() => first.frames.length === 1)
      await first.messenger.close()
      const second = await Messenger.create(
        env,
        { name: entityName('osd', 1), nonce: 99, fsid: 'cluster', security },
        {
          onSession: () => undefined,
          onPeerFrame: (_peer, one) => first.frames.push(one),
          onPeerReset: () => undefined,
        },
      )
      open.push(second)
      await second.bind(first.address)
      outbox.send(frame(2))
      await until(() => sender.resets.length === 1)
      expect(sender.resets).toEqual(['osd.1'])
      expect(first.frames.map((one) => one.tid)).toEqual([1])
    })
  })
})
