/** What strangers may send to a listening port over real TCP, and what a false server may answer. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { address, concatBytes, entityName, utf8Encode } from '@shoal/base'
import { type LossySession, Messenger, type MessengerLimits, type ReceivedFrame } from '@shoal/messenger'
import { createRealEnv } from '@shoal/runtime'
import { CollectingLog } from '@shoal/testkit'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { encodeFrame } from '../src/frame.ts'
import { encodeHello, type Hello } from '../src/hello.ts'

const frame = { type: 7, tid: 1, traceId: 0, header: utf8Encode('header'), payload: [utf8Encode('payload')] }
const hello: Hello = {
  protocol: 1,
  fsid: 'cluster',
  name: entityName('client', 9),
  nonce: 9,
  kind: 'lossy',
  stream: 1,
  attempt: 1,
  featuresSupported: 0,
  featuresRequired: 0,
  authentication: 0,
  encryption: 0,
  lastSequence: 0,
}

let log: CollectingLog
let messenger: Messenger
let port: number
const frames: ReceivedFrame[] = []
const sessions: LossySession[] = []

async function start(limits: Partial<MessengerLimits> = {}): Promise<void> {
  log = new CollectingLog()
  messenger = await Messenger.create(
    { ...createRealEnv({ name: 'test', logLevel: 'error' }), log },
    { name: entityName('osd', 0), nonce: 1, fsid: 'cluster', limits },
    {
      onSession: (session) => {
        sessions.push(session)
        session.onFrame = (received) => {
          frames.push(received)
          session.send(frame)
        }
      },
      onPeerFrame: (_peer, received) => frames.push(received),
      onPeerReset: () => undefined,
    },
  )
  const bound = await messenger.bind(address('127.0.0.1:0'))
  port = Number(bound.slice(bound.indexOf(':') + 1))
}

beforeEach(() => {
  frames.length = 0
  sessions.length = 0
})
afterEach(() => messenger.close())

function stranger(): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.resume()
  return socket
}

/** Resolves when the server has hung up. */
async function says(...chunks: readonly Uint8Array[]): Promise<void> {
  const socket = stranger()
  for (const chunk of chunks) socket.write(chunk)
  await once(socket, 'close')
}

/** A sound client is served as if nothing had been. */
async function expectAlive(): Promise<void> {
  const client = await Messenger.create(
    createRealEnv({ name: 'client', logLevel: 'error' }),
    { name: entityName('client', 5), nonce: 2, fsid: 'cluster' },
    { onSession() {}, onPeerFrame() {}, onPeerReset() {} },
  )
  const session = client.connect(address(`127.0.0.1:${port}`))
  await new Promise<void>((resolve) => {
    session.onFrame = () => resolve()
    session.send(frame)
  })
  await client.close()
}

const reasons = (): readonly unknown[] => log.entries.map((entry) => entry.fields['reason'])

function damaged(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice()
  copy[at] = (copy[at] as number) ^ 1
  return copy
}

describe('a stranger', () => {
  test.each([
    ['noise', [new Uint8Array(5000).fill(0x5a)], 'the other side does not speak our protocol'],
    ['a web browser', [utf8Encode('GET / HTTP/1.1\r\nHost: x\r\n\r\n')], 'the other side does not speak our protocol'],
    [
      'a hello that claims to be huge',
      [new Uint8Array([0x53, 0x48, 0x4c, 0x4f, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0])],
      'hello of 2147483647 bytes',
    ],
  ])('%s: hung up on, with the reason in the log', async (_what, chunks, reason) => {
    await start()
    await says(...chunks)
    expect(reasons()).toEqual([reason])
    expect(messenger.counters.protocolErrors).toBe(1)
    await expectAlive()
  })

  test('with a hello that does not fit, or is damaged', async () => {
    await start()
    await says(damaged(encodeHello(hello), 20))
    await says(encodeHello({ ...hello, fsid: 'other' }))
    await says(encodeHello({ ...hello, protocol: 2 }))
    await says(encodeHello({ ...hello, encryption: 1 }))
    await says(encodeHello({ ...hello, name: entityName('osd', '../../etc') }))
    expect(reasons()).toEqual([
      'checksum of a hello does not match',
      'client.9 belongs to cluster other, not cluster',
      'client.9 speaks protocol 2, not 1',
      'client.9 wants authentication 0, encryption 1',
      'a hello from nobody we know',
    ])
    expect(sessions).toEqual([])
    await expectAlive()
  })

  test('that says nothing, or drips, is cut off in time', async () => {
    await start({ handshakeMs: 100 })
    const drip = stranger()
    const bytes = encodeHello(hello)
    let at = 0
    const timer = setInterval(() => drip.write(bytes.subarray(at, ++at)), 30)
    await Promise.all([once(stranger(), 'close'), once(drip, 'close')])
    clearInterval(timer)
    while (messenger.counters.timeouts < 2) await new Promise((resolve) => setTimeout(resolve, 1))
    expect(at).toBeLessThan(bytes.length)
    await expectAlive()
  })

  test('is one of a bounded number', async () => {
    await start({ strangersMax: 3 })
    const waiting = [stranger(), stranger(), stranger()]
    await Promise.all(waiting.map((socket) => once(socket, 'connect')))
    while (messenger.counters.connectionsAccepted < 3) await new Promise((resolve) => setTimeout(resolve, 1))
    await once(stranger(), 'close')
    expect(messenger.counters.connectionsRefused).toBe(1)
    waiting[0]?.destroy()
    waiting[1]?.destroy()
    await Promise.all([once(waiting[0] as Socket, 'close'), once(waiting[1] as Socket, 'close')])
    await expectAlive()
    waiting[2]?.destroy()
  })

  test('cannot fill the log', async () => {
    await start()
    for (let i = 0; i < 30; i++) await says(utf8Encode('nonsense'))
    expect(messenger.counters.protocolErrors).toBe(30)
    expect(log.entries.length).toBe(20)
  })
})

describe('a client', () => {
  const sound = (): Uint8Array => concatBytes(encodeFrame(frame, 0))
  const oversized = (at: number, value: number): Uint8Array => {
    const bytes = sound()
    new DataView(bytes.buffer).setUint32(at, value, true)
    return bytes
  }

  test.each([
    ['a damaged frame header', () => damaged(sound(), 30), 'checksum of a frame header does not match'],
    ['a damaged message header', () => damaged(sound(), 50), 'checksum of a frame header does not match'],
    ['a damaged payload', () => damaged(sound(), 55), 'checksum of a payload does not match'],
    ['a payload over the limit', () => oversized(12, 0x0400_0001), 'frame of 6 + 67108865 bytes is over the limit'],
    ['a header over the limit', () => oversized(8, 0x0100_0001), 'frame of 16777217 + 7 bytes is over the limit'],
    ['noise after its hello', () => new Uint8Array(100).fill(3), 'bytes that are no frame'],
  ])('with %s: what came before is delivered, then the session ends', async (_what, bytes, reason) => {
    await start()
    await says(encodeHello(hello), sound(), bytes())
    expect(frames.length).toBe(1)
    expect(reasons()).toEqual([reason])
    expect(sessions[0]?.isClosed).toBe(true)
    await expectAlive()
  })

  test('that hangs up in the middle of a frame', async () => {
    await start()
    const socket = stranger()
    socket.end(concatBytes([encodeHello(hello), sound().subarray(0, 52)]))
    await once(socket, 'close')
    while (sessions[0]?.isClosed !== true) await new Promise((resolve) => setTimeout(resolve, 1))
    expect(frames).toEqual([])
    await expectAlive()
  })

  test('that poses as a peer and skips a number', async () => {
    await start()
    const numbered = (sequence: number): Uint8Array => concatBytes(encodeFrame(frame, sequence))
    const posing = encodeHello({ ...hello, kind: 'peer', name: entityName('osd', 7) })
    await says(posing, numbered(1), numbered(1), numbered(3))
    expect(frames.length).toBe(1)
    expect(reasons()).toEqual(['osd.7 sent message 3 after 1'])
    await expectAlive()
  })
})

test('a false server is found out by the client', async () => {
  await start()
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.write(utf8Encode('220 smtp ready\r\n'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = messenger.connect(address(`127.0.0.1:${(server.address() as { port: number }).port}`))
  const reason = await new Promise<Error | undefined>((resolve) => {
    session.onReset = resolve
  })
  expect(reason).toMatchObject({ code: 'EBADMSG' })
  server.close()
})
