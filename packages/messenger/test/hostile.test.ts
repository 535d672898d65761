/** What strangers may send to a listening port over real TCP, and what a false server may answer. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { address, concatBytes, entityName, utf8Encode } from '@shoal/base'
import {
  type LossySession,
  Messenger,
  type MessengerLimits,
  type MessengerSecurity,
  openSecurity,
  type ReceivedFrame,
  securityFrom,
} from '@shoal/messenger'
import { createRealEnv } from '@shoal/runtime'
import { CollectingLog } from '@shoal/testkit'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { encodeFrame } from '../src/frame.ts'
import { encodeHello, type Hello } from '../src/hello.ts'
import { RawClient } from './support/raw-client.ts'
import { clusterKey, otherKey, securities } from './support/security.ts'

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
  authentications: ['none'],
  encryptions: ['crc'],
  challenge: new Uint8Array(0),
  lastSequence: 0,
}

let security: MessengerSecurity = openSecurity
let log: CollectingLog
let messenger: Messenger
let port: number
const frames: ReceivedFrame[] = []
const sessions: LossySession[] = []

async function start(limits: Partial<MessengerLimits> = {}): Promise<void> {
  log = new CollectingLog()
  messenger = await Messenger.create(
    { ...createRealEnv({ name: 'test', logLevel: 'error' }), log },
    { name: entityName('osd', 0), nonce: 1, fsid: 'cluster', limits, security },
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

/** Unlike `once`, does not mind an error before it. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}

/** Resolves when the server has hung up. */
async function says(...chunks: readonly Uint8Array[]): Promise<void> {
  const socket = stranger()
  for (const chunk of chunks) socket.write(chunk)
  await closed(socket)
}

/** A sound client is served as if nothing had been. */
async function expectAlive(): Promise<void> {
  const client = await Messenger.create(
    createRealEnv({ name: 'client', logLevel: 'error' }),
    { name: entityName('client', 5), nonce: 2, fsid: 'cluster', security },
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

/** A negative place counts from the end. */
function damaged(bytes: Uint8Array, place: number): Uint8Array {
  const copy = bytes.slice()
  const at = place < 0 ? copy.length + place : place
  copy[at] = (copy[at] as number) ^ 1
  return copy
}

describe.each(securities)('%s', (_name, each) => {
  beforeAll(() => {
    security = each
  })

  describe('a stranger', () => {
    test.each([
      ['noise', [new Uint8Array(5000).fill(0x5a)], 'the other side does not speak our protocol'],
      [
        'a web browser',
        [utf8Encode('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
        'the other side does not speak our protocol',
      ],
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
      await says(encodeHello({ ...hello, name: entityName('osd', '../../etc') }))
      expect(reasons()).toEqual([
        'checksum of a hello does not match',
        'client.9 belongs to cluster other, not cluster',
        'client.9 speaks protocol 2, not 1',
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
      await Promise.all([closed(stranger()), closed(drip)])
      clearInterval(timer)
      await until(() => messenger.counters.timeouts === 2)
      expect(at).toBeLessThan(bytes.length)
      await expectAlive()
    })

    test('is one of a bounded number', async () => {
      await start({ strangersMax: 3 })
      const waiting = [stranger(), stranger(), stranger()]
      await Promise.all(waiting.map((socket) => once(socket, 'connect')))
      await until(() => messenger.counters.connectionsAccepted === 3)
      await closed(stranger())
      expect(messenger.counters.connectionsRefused).toBe(1)
      waiting[0]?.destroy()
      waiting[1]?.destroy()
      await Promise.all([closed(waiting[0] as Socket), closed(waiting[1] as Socket)])
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
    const checks = (): 'checksums' | 'sealed' => (security.encryptions.includes('secure') ? 'sealed' : 'checksums')
    const sound = (): Uint8Array => concatBytes(encodeFrame(frame, 0, checks())).slice()
    const oversized = (at: number, value: number): Uint8Array => {
      const bytes = sound()
      new DataView(bytes.buffer).setUint32(at, value, true)
      return bytes
    }

    async function expectRefused(bytes: Uint8Array, reason: string): Promise<void> {
      await start()
      const client = await RawClient.join(port, hello, security)
      client.say(sound())
      client.say(bytes)
      await client.closed
      expect(frames.length).toBe(1)
      expect(reasons()).toEqual([reason])
      expect(sessions[0]?.isClosed).toBe(true)
      expect(messenger.counters.recordsRefused).toBe(0)
      await expectAlive()
    }

    test.skipIf(each.encryptions.includes('secure')).each([
      ['a damaged frame header', () => damaged(sound(), 30), 'checksum of a frame header does not match'],
      ['a damaged message header', () => damaged(sound(), 50), 'checksum of a frame header does not match'],
      ['a damaged payload', () => damaged(sound(), 55), 'checksum of a payload does not match'],
    ])('with %s: what came before is delivered, then the session ends', (_what, bytes, reason) =>
      expectRefused(bytes(), reason),
    )

    test.each([
      ['a payload over the limit', () => oversized(12, 0x0400_0001), 'frame of 6 + 67108865 bytes is over the limit'],
      ['a header over the limit', () => oversized(8, 0x0100_0001), 'frame of 16777217 + 7 bytes is over the limit'],
      ['noise after its hello', () => new Uint8Array(100).fill(3), 'bytes that are no frame'],
    ])('with %s: what came before is delivered, then the session ends', (_what, bytes, reason) =>
      expectRefused(bytes(), reason),
    )

    test('that hangs up in the middle of a frame', async () => {
      await start()
      const client = await RawClient.join(port, hello, security)
      client.say(sound().subarray(0, 52))
      client.socket.end()
      await client.closed
      await until(() => sessions[0]?.isClosed === true)
      expect(frames).toEqual([])
      await expectAlive()
    })

    test('that poses as a peer and skips a number', async () => {
      await start()
      const client = await RawClient.join(port, { ...hello, kind: 'peer', name: entityName('osd', 7) }, security)
      for (const sequence of [1, 1, 3]) client.say(concatBytes(encodeFrame(frame, sequence, checks())))
      await client.closed
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
})

describe('a client of a cluster with a secret', () => {
  beforeAll(() => {
    security = securityFrom({}, clusterKey)
  })

  /** Its session's end. */
  async function refusal(theirs: MessengerSecurity): Promise<Error | undefined> {
    const client = await Messenger.create(
      createRealEnv({ name: 'client', logLevel: 'error' }),
      { name: entityName('client', 5), nonce: 2, fsid: 'cluster', security: theirs },
      { onSession() {}, onPeerFrame() {}, onPeerReset() {} },
    )
    const session = client.connect(address(`127.0.0.1:${port}`))
    session.send(frame)
    const reason = await new Promise<Error | undefined>((resolve) => {
      session.onReset = resolve
    })
    await client.close()
    return reason
  }

  test('with no key is told what to do, and counted', async () => {
    await start()
    expect(await refusal(openSecurity)).toMatchObject({
      code: 'EACCES',
      message: 'osd.0 accepts authentication secret, this side none',
      hint: 'name the keyring of the cluster with --keyring FILE',
    })
    expect(reasons()).toEqual(['client.5 accepts authentication none, this side secret'])
    expect(messenger.counters).toMatchObject({ authenticationsRefused: 1, protocolErrors: 0 })
    expect(sessions).toEqual([])
    await expectAlive()
  })

  test('with another key is told so, and counted', async () => {
    await start()
    expect(await refusal(securityFrom({}, otherKey))).toMatchObject({
      code: 'EACCES',
      message: 'osd.0 refuses us: client.5 does not prove that it knows the key of this cluster',
    })
    await until(() => messenger.counters.authenticationsRefused === 1)
    expect(sessions).toEqual([])
    await expectAlive()
  })

  test('with another mode is told so', async () => {
    security = securityFrom({ ms_mode: 'crc' }, clusterKey)
    await start()
    expect(await refusal(securityFrom({ ms_mode: 'secure' }, clusterKey))).toMatchObject({
      code: 'EACCES',
      message: 'osd.0 accepts mode crc, this side secure',
      hint: 'give both sides a common ms_mode',
    })
    security = securityFrom({}, clusterKey)
  })

  test('that sends megabytes in place of its proof costs one chunk of them', async () => {
    await start()
    const socket = stranger()
    let answered = 0
    socket.on('data', (chunk) => {
      answered += chunk.length
    })
    socket.write(encodeHello({ ...hello, authentications: ['secret'], challenge: new Uint8Array(32) }))
    await until(() => answered > 0)
    socket.write(new Uint8Array(8 * 1024 * 1024).fill(0x41))
    await closed(socket)
    await until(() => messenger.counters.protocolErrors === 1)
    expect(reasons()).toEqual(['no proof follows the hello'])
    await expectAlive()
  })

  test.each([
    ['frames after its hello', (proof: Uint8Array) => [proof, ...encodeFrame(frame, 0)]],
    ['its proof twice', (proof: Uint8Array) => [proof, proof]],
  ])('that sends %s, before it is told that it may, is cut off', async (_what, bytesOf) => {
    await start()
    const proof = await RawClient.proofFor(port, hello, security)
    proof.socket.write(concatBytes(bytesOf(proof.bytes)))
    await closed(proof.socket)
    await until(() => messenger.counters.protocolErrors === 1)
    expect(reasons()).toEqual(['client.9 speaks out of turn'])
    expect(sessions).toEqual([])
    await expectAlive()
  })

  test('that falls silent before its proof is cut off in time, and keeps one of the places of strangers', async () => {
    await start({ handshakeMs: 100, strangersMax: 1 })
    const proof = await RawClient.proofFor(port, hello, security)
    await closed(stranger())
    expect(messenger.counters.connectionsRefused).toBe(1)
    await closed(proof.socket)
    await until(() => messenger.counters.timeouts === 1)
    await expectAlive()
  })

  test('whose recorded handshake is played again is refused', async () => {
    await start()
    const first = await RawClient.proofFor(port, hello, security)
    const again = stranger()
    again.write(first.hello)
    await once(again, 'data')
    again.write(first.bytes)
    await closed(again)
    await until(() => messenger.counters.authenticationsRefused === 1)
    expect(reasons()).toEqual(['client.9 does not prove that it knows the key of this cluster'])
    first.socket.destroy()
  })

  test('that poses as a peer without a proof does not cut the connection of the true one', async () => {
    await start()
    const true7 = { ...hello, kind: 'peer' as const, name: entityName('osd', 7) }
    const client = await RawClient.join(port, true7, security)
    client.say(concatBytes(encodeFrame(frame, 1)))
    await until(() => frames.length === 1)
    await says(
      encodeHello({ ...true7, attempt: 99, authentications: ['secret'], challenge: new Uint8Array(32) }),
      new Uint8Array(2000),
    )
    client.say(concatBytes(encodeFrame(frame, 2)))
    await until(() => frames.length === 2)
    client.socket.destroy()
  })
})

describe('sealed records', () => {
  beforeAll(() => {
    security = securityFrom({ ms_mode: 'secure' }, clusterKey)
  })

  const numbered = (tid: number): Uint8Array => concatBytes(encodeFrame({ ...frame, tid }, 0, 'sealed')).slice()

  test.each([
    ['with a flipped bit', ([a, b]: readonly Uint8Array[]) => [a, damaged(b as Uint8Array, 20)]],
    ['with a flipped bit in its length', ([a, b, c]: readonly Uint8Array[]) => [a, damaged(b as Uint8Array, 0), c]],
    ['with a flipped bit in its tag', ([a, b]: readonly Uint8Array[]) => [a, damaged(b as Uint8Array, -1)]],
    ['played again', ([a]: readonly Uint8Array[]) => [a, a]],
    ['in another order', ([a, b, c]: readonly Uint8Array[]) => [a, c, b]],
    ['of which one is missing', ([a, , c]: readonly Uint8Array[]) => [a, c]],
    ['that give way to noise', ([a]: readonly Uint8Array[]) => [a, new Uint8Array(200).fill(9)]],
    ['that give way to frames that nobody sealed', ([a]: readonly Uint8Array[]) => [a, numbered(2)]],
  ])('%s: what came before is delivered, then the connection ends, counted', async (_what, change) => {
    await start()
    const client = await RawClient.join(port, hello, security)
    const records = [1, 2, 3].map((tid) => client.seal(numbered(tid)))
    for (const record of change(records)) client.socket.write(record as Uint8Array)
    await client.closed
    await until(() => sessions[0]?.isClosed === true)
    expect(frames.map(({ tid }) => tid)).toEqual([1])
    expect(messenger.counters).toMatchObject({ recordsRefused: 1, protocolErrors: 1 })
    await expectAlive()
  })

  test('cut short by an end that the sender did not mean: nothing of the last is delivered, and it is counted', async () => {
    await start()
    const client = await RawClient.join(port, hello, security)
    client.say(numbered(1))
    client.socket.end(client.seal(numbered(2)).slice(0, -1))
    await client.closed
    await until(() => sessions[0]?.isClosed === true)
    expect(frames.map(({ tid }) => tid)).toEqual([1])
    expect(messenger.counters).toMatchObject({ recordsTruncated: 1, recordsRefused: 0 })
  })
})
