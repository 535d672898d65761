/** Sessions under a simulated network: cuts at any byte, partitions, pauses, restarts; hours of it in milliseconds. */
import { type Address, address, type EntityName, entityName, Prng } from '@shoal/base'
import {
  type LossySession,
  Messenger,
  type MessengerHandler,
  type MessengerOptions,
  type MessengerSecurity,
  type OutgoingFrame,
  openSecurity,
  type PeerSource,
  type ReceivedFrame,
} from '@shoal/messenger'
import { type SimMachine, SimWorld } from '@shoal/testkit'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { securities } from './support/security.ts'

let security: MessengerSecurity = openSecurity
const osd0 = entityName('osd', 0)
const osd1 = entityName('osd', 1)

function frameOf(tid: number, payload: readonly Uint8Array[] = []): OutgoingFrame {
  return { type: 7, tid, traceId: 0, header: new Uint8Array([tid & 0xff]), payload }
}

class Node {
  readonly messenger: Messenger
  readonly address: Address
  readonly sessions: LossySession[]

  private constructor(messenger: Messenger, bound: Address, sessions: LossySession[]) {
    this.messenger = messenger
    this.address = bound
    this.sessions = sessions
  }

  static async start(
    machine: SimMachine,
    name: EntityName,
    handler: Partial<MessengerHandler> = {},
    options: Partial<MessengerOptions> = {},
  ): Promise<Node> {
    const sessions: LossySession[] = []
    const env = machine.start()
    const messenger = await Messenger.create(
      env,
      { name, nonce: env.random.uint53(), fsid: 'cluster', security, ...options },
      { onSession: (session) => sessions.push(session), onPeerFrame() {}, onPeerReset() {}, ...handler },
    )
    return new Node(messenger, await messenger.bind(address(`${machine.host}:6800`)), sessions)
  }
}

describe.each(securities)('%s', (_name, each) => {
  beforeAll(() => {
    security = each
  })

  describe('peers', () => {
    test('every message arrives exactly once and in order, both ways, whatever the network does', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.nat(),
          fc.constantFrom(40, 700, 20_000),
          fc.nat({ max: 60 }),
          async (seed, chunkMax, cuts) => {
            const world = new SimWorld({ seed })
            const { faults } = world.network
            faults.chunkBytesMax = chunkMax
            faults.delayMsMax = 20
            // On average `cuts` cuts in a megabyte.
            faults.resetProbability = (cuts * chunkMax) / 2_000_000
            const received: Record<string, number[]> = { [osd0]: [], [osd1]: [] }
            const sums: Record<string, number> = { [osd0]: 0, [osd1]: 0 }
            const resets: EntityName[] = []
            const sources: PeerSource[] = []
            const handler: Partial<MessengerHandler> = {
              onPeerFrame: (peer, frame) => {
                received[peer.name]?.push(frame.tid)
                sums[peer.name] = (sums[peer.name] as number) + frame.payload.reduce((sum, byte) => sum + byte, 0)
                sources.push(peer)
              },
              onPeerReset: (name) => resets.push(name),
            }
            const a = await Node.start(world.machine('a'), osd0, handler)
            const b = await Node.start(world.machine('b'), osd1, handler)
            const outboxes = { [osd0]: a.messenger.peer(osd1, b.address), [osd1]: b.messenger.peer(osd0, a.address) }
            const random = new Prng(seed)
            const count = 80
            const sent: Record<string, number> = { [osd0]: 0, [osd1]: 0 }
            for (let tid = 0; tid < count; tid++) {
              for (const name of [osd0, osd1]) {
                const payload = [random.bytes(random.below(3_000)), random.bytes(random.below(50))]
                for (const chunk of payload)
                  sent[name] = (sent[name] as number) + chunk.reduce((sum, byte) => sum + byte, 0)
                outboxes[name]?.send(frameOf(tid, payload))
              }
              await world.time.advance(random.below(15))
              if (random.below(25) === 0) world.network.resetConnections('a', 'b')
              if (random.below(25) === 0) world.network.partition('a', 'b', { oneWay: random.below(2) === 0 })
              if (random.below(5) === 0) world.network.heal()
              const source = sources.at(-1)
              if (random.below(10) === 0) source?.pause()
              if (random.below(4) === 0) for (const each of sources) each.resume()
            }
            world.network.heal()
            faults.resetProbability = 0
            for (const each of sources) each.resume()
            await world.time.until(() => outboxes[osd0]?.pendingBytes === 0 && outboxes[osd1]?.pendingBytes === 0)
            const expected = Array.from({ length: count }, (_, tid) => tid)
            expect(received).toEqual({ [osd0]: expected, [osd1]: expected })
            expect(sums).toEqual(sent)
            expect(resets).toEqual([])
            await Promise.all([a.messenger.close(), b.messenger.close()])
            await world.time.runUntilIdle()
            expect(world.network.openStreams).toBe(0)
          },
        ),
        { numRuns: 30 },
      )
    }, 120_000)

    test('a peer that lost power and came back is reported; its new run gets a numbering of its own', async () => {
      const world = new SimWorld({ seed: 1 })
      const received: number[] = []
      const resets: EntityName[] = []
      const a = await Node.start(world.machine('a'), osd0, { onPeerReset: (name) => resets.push(name) })
      const machine = world.machine('b')
      const handler: Partial<MessengerHandler> = { onPeerFrame: (_peer, frame) => received.push(frame.tid) }
      const b = await Node.start(machine, osd1, handler)
      a.messenger.peer(osd1, b.address).send(frameOf(1))
      await world.time.until(() => received.length === 1)
      machine.powerCut()
      a.messenger.peer(osd1, b.address).send(frameOf(2))
      await world.time.advance(5_000)
      const again = await Node.start(machine, osd1, handler)
      await world.time.until(() => resets.length === 1)
      expect(resets).toEqual([osd1])
      a.messenger.peer(osd1, again.address).send(frameOf(3))
      await world.time.until(() => received.length === 2)
      expect(received).toEqual([1, 3])
    })

    test('the outbox tells its owner to wait, and when to go on', async () => {
      const world = new SimWorld({ seed: 2 })
      let source: PeerSource | undefined
      const a = await Node.start(world.machine('a'), osd0, {}, { limits: { outboxHighWaterBytes: 10_000 } })
      const b = await Node.start(world.machine('b'), osd1, {
        onPeerFrame: (peer) => {
          if (source === undefined) peer.pause()
          source = peer
        },
      })
      const outbox = a.messenger.peer(osd1, b.address)
      let drained = 0
      outbox.onDrain = () => drained++
      const clear = Array.from({ length: 5 }, (_, tid) => outbox.send(frameOf(tid, [new Uint8Array(3_000)])))
      expect(clear).toEqual([true, true, true, false, false])
      await world.time.advance(60_000)
      expect(drained).toBe(0)
      source?.resume()
      await world.time.until(() => outbox.pendingBytes === 0)
      expect(drained).toBe(1)
    })

    test('a peer that is away is not asked more often than the backoff allows', async () => {
      const world = new SimWorld({ seed: 3 })
      const a = await Node.start(world.machine('a'), osd0)
      const outbox = a.messenger.peer(osd1, address('b:6800'))
      for (let i = 0; i < 1_000; i++) {
        outbox.send(frameOf(i))
        await world.time.advance(10)
      }
      expect(outbox.attempt).toBeGreaterThan(3)
      expect(outbox.attempt).toBeLessThan(15)
      outbox.close()
    })
  })

  describe('lossy sessions', () => {
    async function pair(
      seed: number,
      options: Partial<MessengerOptions> = {},
    ): Promise<{ world: SimWorld; server: Node; client: Node; session: LossySession; frames: ReceivedFrame[] }> {
      const world = new SimWorld({ seed })
      const server = await Node.start(world.machine('a'), osd0, {}, options)
      const client = await Node.start(world.machine('b'), entityName('client', 1), {}, options)
      const session = client.messenger.connect(server.address)
      await world.time.until(() => server.sessions.length === 1 && session.peer !== undefined)
      const frames: ReceivedFrame[] = []
      ;(server.sessions[0] as LossySession).onFrame = (frame) => frames.push(frame)
      return { world, server, client, session, frames }
    }

    test('a pause takes effect with the next frame, a resume gives what waited', async () => {
      const { world, server, session, frames } = await pair(1)
      const receiving = server.sessions[0] as LossySession
      receiving.onFrame = (frame) => {
        frames.push(frame)
        receiving.pause()
      }
      for (let tid = 0; tid < 5; tid++) session.send(frameOf(tid))
      for (let tid = 0; tid < 5; tid++) {
        await world.time.advance(1_000)
        expect(frames.map((frame) => frame.tid)).toEqual(Array.from({ length: tid + 1 }, (_, i) => i))
        receiving.resume()
      }
    })

    test('a receiver that does not read holds its sender back, then loses it if it goes on', async () => {
      const { world, server, session } = await pair(2, { limits: { sessionBytesMax: 8 * 1024 * 1024 } })
      const receiving = server.sessions[0] as LossySession
      receiving.pause()
      let drained = 0
      let reset: Error | undefined
      session.onDrain = () => drained++
      session.onReset = (error) => {
        reset = error
      }
      const payload = [new Uint8Array(512 * 1024)]
      while (session.send(frameOf(0, payload))) await world.time.advance(1)
      await world.time.advance(1_000)
      expect(drained).toBe(0)
      receiving.resume()
      await world.time.until(() => session.bufferedBytes === 0)
      expect(drained).toBe(1)
      receiving.pause()
      for (let i = 0; i < 100 && !session.isClosed; i++) {
        session.send(frameOf(0, payload))
        await world.time.advance(1)
      }
      expect(reset).toMatchObject({ code: 'EOVERFLOW' })
    })

    test('silence ends a session, quiet does not, nor does a pause of our own', async () => {
      const { world, server, session, frames } = await pair(3)
      const resets: (Error | undefined)[] = []
      session.onReset = (error) => resets.push(error)
      await world.time.advance(3_600_000)
      ;(server.sessions[0] as LossySession).pause()
      await world.time.advance(3_600_000)
      ;(server.sessions[0] as LossySession).resume()
      session.send(frameOf(1))
      await world.time.until(() => frames.length === 1)
      expect(resets).toEqual([])
      world.network.partition('a', 'b')
      await world.time.advance(90_000)
      expect(resets).toMatchObject([{ code: 'ETIMEDOUT' }])
    })

    test('whoever lacks a required feature is refused, and told', async () => {
      const world = new SimWorld({ seed: 4 })
      const server = await Node.start(
        world.machine('a'),
        osd0,
        {},
        { featuresSupported: 0b110, featuresRequired: 0b100 },
      )
      const old = await Node.start(world.machine('b'), entityName('client', 1), {}, { featuresSupported: 0b010 })
      const refused = old.messenger.connect(server.address)
      let reason: Error | undefined
      refused.onReset = (error) => {
        reason = error
      }
      await world.time.until(() => refused.isClosed)
      expect(reason).toMatchObject({ code: 'EPROTO', message: 'osd.0 needs features 0x4', hint: 'upgrade this daemon' })
      const young = await Node.start(world.machine('c'), entityName('client', 2), {}, { featuresSupported: 0b1101 })
      const session = young.messenger.connect(server.address)
      await world.time.until(() => session.peer !== undefined)
      expect(session.peer?.features).toBe(0b100)
    })

    test('after a close nothing connects, nothing is left open', async () => {
      const { world, server, client, session } = await pair(5)
      await client.messenger.close()
      const late = client.messenger.connect(server.address)
      let reason: Error | undefined
      late.onReset = (error) => {
        reason = error
      }
      await server.messenger.close()
      await world.time.runUntilIdle()
      expect([session.isClosed, late.isClosed]).toEqual([true, true])
      expect(reason).toMatchObject({ code: 'ESHUTDOWN' })
      expect(world.network.openStreams).toBe(0)
    })
  })
})
