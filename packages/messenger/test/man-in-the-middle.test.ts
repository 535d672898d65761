/** Whole messengers with somebody between them, under virtual time: nothing opens that should not, nothing hangs. */
import { address, type EntityName, entityName, hexEncode, Prng } from '@shoal/base'
import {
  defaultLimits,
  type LossySession,
  Messenger,
  type MessengerHandler,
  type MessengerOptions,
  openSecurity,
  securityFrom,
} from '@shoal/messenger'
import { type SimMachine, SimWorld } from '@shoal/testkit'
import { describe, expect, test } from 'vitest'
import { clusterKey } from './support/security.ts'
import { type Tamper, TamperedNetwork } from './support/tampered-network.ts'

const osd0 = entityName('osd', 0)
const osd1 = entityName('osd', 1)
const secure = securityFrom({ ms_mode: 'secure crc' }, clusterKey)
const crc = securityFrom({ ms_mode: 'crc' }, clusterKey)
const frame = { type: 7, tid: 1, traceId: 0, header: new Uint8Array(1), payload: [new Uint8Array(100)] }

function start(
  machine: SimMachine,
  name: EntityName,
  options: Partial<MessengerOptions> & { readonly tamper?: Tamper } = {},
  handler: Partial<MessengerHandler> = {},
): Promise<Messenger> {
  const { tamper, ...rest } = options
  const env = machine.start()
  return Messenger.create(
    tamper === undefined ? env : { ...env, network: new TamperedNetwork(env.network, tamper) },
    { name, nonce: env.random.uint53(), fsid: 'cluster', ...rest },
    { onSession() {}, onPeerFrame() {}, onPeerReset() {}, ...handler },
  )
}

describe.each([
  ['crc', crc],
  ['secure', secure],
])('a handshake to %s', (_name, security) => {
  /** One attempt, with one byte changed; undefined changes none and tells how many there are. */
  async function attempt(place?: { readonly direction: 'in' | 'out'; readonly at: number; readonly mask: number }) {
    const world = new SimWorld({ seed: 1 })
    const bytes = { in: 0, out: 0 }
    const tamper: Tamper = (direction, chunk, at) => {
      bytes[direction] = at + chunk.length
      const index = place === undefined || place.direction !== direction ? -1 : place.at - at
      if (index >= 0 && index < chunk.length) chunk[index] = (chunk[index] as number) ^ (place?.mask ?? 0)
    }
    const served: LossySession[] = []
    const server = await start(world.machine('a'), osd0, { security }, { onSession: (session) => served.push(session) })
    const listening = await server.bind(address('a:6800'))
    const client = await start(world.machine('b'), entityName('client', 1), { security, tamper })
    const startedMs = world.time.nowMs
    const session = client.connect(listening)
    await world.time.until(() => session.isClosed || session.peer !== undefined)
    await world.time.advance(defaultLimits.handshakeMs + 1_000)
    return { world, server, client, session, served, bytes: { ...bytes }, startedMs }
  }

  test('of which any byte is changed opens nothing, and is over in time', async () => {
    const { bytes, session } = await attempt()
    expect(session.peer).toMatchObject({ name: 'osd.0' })
    const random = new Prng(1)
    for (const direction of ['out', 'in'] as const) {
      for (let at = 0; at < bytes[direction]; at++) {
        const run = await attempt({ direction, at, mask: 1 << random.below(8) })
        expect(run.session.peer, `${direction} byte ${at}`).toBeUndefined()
        expect(run.session.isClosed).toBe(true)
        expect(run.served.every((each) => each.isClosed)).toBe(true)
        expect(run.world.network.openStreams).toBe(0)
        const { authenticationsRefused, protocolErrors, timeouts } = run.client.counters
        const seen = authenticationsRefused + protocolErrors + timeouts
        const { counters } = run.server
        expect(seen + counters.authenticationsRefused + counters.protocolErrors + counters.timeouts).toBeGreaterThan(0)
      }
    }
  }, 120_000)
})

describe('sealed streams between peers', () => {
  test('whatever is changed on the way, every message arrives once, in order, as it was sent', async () => {
    const world = new SimWorld({ seed: 3 })
    const random = new Prng(3)
    let changed = 0
    const tamper: Tamper = (_direction, chunk) => {
      if (random.below(12) > 0 || changed > 40) return
      changed++
      const at = random.below(chunk.length)
      chunk[at] = (chunk[at] as number) ^ (1 << random.below(8))
    }
    const received: string[] = []
    const receiver = await start(
      world.machine('a'),
      osd0,
      { security: secure },
      {
        onPeerFrame: (_peer, { payload }) => received.push(hexEncode(payload)),
      },
    )
    const listening = await receiver.bind(address('a:6800'))
    const sender = await start(world.machine('b'), osd1, { security: secure, tamper })
    const outbox = sender.peer(osd0, listening)
    const sent: string[] = []
    for (let tid = 0; tid < 300; tid++) {
      const payload = random.bytes(random.below(200))
      sent.push(hexEncode(payload))
      outbox.send({ ...frame, tid, payload: [payload] })
      await world.time.advance(random.below(30))
    }
    await world.time.until(() => outbox.pendingBytes === 0, 600_000)
    expect(received).toEqual(sent)
    expect(changed).toBeGreaterThan(20)
    expect(receiver.counters.recordsRefused).toBeGreaterThan(5)
  })

  test('a length that grew on the way keeps nobody waiting for longer than silence does', async () => {
    const world = new SimWorld({ seed: 7 })
    let armed = false
    const tamper: Tamper = (direction, chunk) => {
      if (!armed || direction === 'out') return
      armed = false
      chunk[1] = 0xff
    }
    const served: LossySession[] = []
    const server = await start(
      world.machine('a'),
      osd0,
      { security: secure },
      { onSession: (each) => served.push(each) },
    )
    const client = await start(world.machine('b'), osd1, { security: secure, tamper })
    const session = client.connect(await server.bind(address('a:6800')))
    await world.time.until(() => session.peer !== undefined)
    armed = true
    // A frame now and then: bytes go on to come, but no record.
    for (let i = 0; i < 100; i++) {
      served[0]?.send(frame)
      await world.time.advance(1_000)
    }
    expect(session.isClosed).toBe(true)
    expect(client.counters.timeouts).toBe(1)
  })

  test('keys are replaced as often as the limit says, and nobody notices', async () => {
    const world = new SimWorld({ seed: 4 })
    const limits = { recordsPerKey: 3, bytesPerKey: 5_000 }
    const received: number[] = []
    const receiver = await start(
      world.machine('a'),
      osd0,
      { security: secure, limits },
      {
        onPeerFrame: (_peer, { tid }) => received.push(tid),
      },
    )
    const sender = await start(world.machine('b'), osd1, { security: secure, limits })
    const outbox = sender.peer(osd0, await receiver.bind(address('a:6800')))
    for (let tid = 0; tid < 200; tid++) {
      outbox.send({ ...frame, tid, payload: [new Uint8Array(tid * 7)] })
      await world.time.advance(5)
    }
    await world.time.until(() => outbox.pendingBytes === 0)
    expect(received).toEqual(Array.from({ length: 200 }, (_, tid) => tid))
    expect(outbox.attempt).toBe(1)
  })

  test('the same seed says the same bytes', async () => {
    async function run(): Promise<string> {
      const world = new SimWorld({ seed: 5 })
      let text = ''
      const tamper: Tamper = (direction, chunk) => {
        text += `${direction} ${hexEncode(chunk)}\n`
      }
      const server = await start(world.machine('a'), osd0, { security: secure })
      const client = await start(world.machine('b'), osd1, { security: secure, tamper })
      const outbox = client.peer(osd0, await server.bind(address('a:6800')))
      for (let tid = 0; tid < 20; tid++) outbox.send({ ...frame, tid })
      await world.time.until(() => outbox.pendingBytes === 0)
      return text
    }
    const first = await run()
    expect(first.length).toBeGreaterThan(1_000)
    expect(await run()).toBe(first)
  })
})

test.each([openSecurity, secure])(
  'a peer or a server that is another than the expected one is not spoken to',
  async (security) => {
    const world = new SimWorld({ seed: 6 })
    const received: number[] = []
    const other = await start(
      world.machine('a'),
      osd1,
      { security },
      {
        onPeerFrame: (_peer, { tid }) => received.push(tid),
        onSession: (session) => {
          session.onFrame = ({ tid }) => received.push(tid)
        },
      },
    )
    const listening = await other.bind(address('a:6800'))
    const sender = await start(world.machine('b'), entityName('osd', 2), { security })
    const outbox = sender.peer(osd0, listening)
    outbox.send(frame)
    const session = sender.connect(listening, osd0)
    session.send(frame)
    let reason: Error | undefined
    session.onReset = (error) => {
      reason = error
    }
    await world.time.advance(5_000)
    expect(reason).toMatchObject({ code: 'EPROTO', message: 'osd.1 answers at a:6800, the address of osd.0' })
    expect(outbox.attempt).toBeGreaterThan(1)
    expect(received).toEqual([])
    outbox.close()
  },
)
