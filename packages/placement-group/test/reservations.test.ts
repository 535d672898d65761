/**
 * Slots across OSDs: several placement groups, each with a primary and targets, over reservers with one slot each, with
 * messages that arrive in any order between pairs. Whatever the priorities, everybody has its turn and gives all back.
 */
import { assert, must, type OsdId, osdId, Prng } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import type { PgCore } from '../src/core.ts'
import type { PgEffect } from '../src/effects.ts'
import { memberOf, osdOf } from '../src/member.ts'
import type { ObjectTransfer } from '../src/object-transfer.ts'
import type { PeerMessage } from '../src/peer-message.ts'
import { Replica } from '../src/replica.ts'
import { Reservations } from '../src/reservations.ts'
import { Reserver } from '../src/reserver.ts'

interface Osd {
  readonly local: Reserver
  readonly remote: Reserver
}

/** One placement group on one OSD, reduced to what asks for slots. */
class Member {
  readonly replica: Replica
  readonly reservations: Reservations
  readonly world: World
  readonly pg: number
  readonly osd: OsdId
  rounds = 0
  granted = 0
  revoked = 0

  constructor(world: World, pg: number, osd: OsdId) {
    this.world = world
    this.pg = pg
    this.osd = osd
    const core = {
      whoami: osd,
      space: { isBackfillFull: false },
      emit: (effect: PgEffect) => this.run(effect),
      send: (to: OsdId, message: PeerMessage) => world.send(pg, osd, to, message),
      nextRound: () => ++this.rounds,
      count: () => undefined,
    } as unknown as PgCore
    this.replica = new Replica(core, {} as ObjectTransfer)
    this.reservations = new Reservations(core, 'recovery', {
      onGranted: () => this.granted++,
      onRevoked: () => {
        this.revoked++
        world.ask(this)
      },
      onTooFull: () => assert(false, 'nobody is full'),
    })
  }

  private run(effect: PgEffect): void {
    if (effect.kind !== 'reserve' && effect.kind !== 'release') return
    const { slot } = effect
    const { local, remote } = this.world.osd(this.osd)
    const reserver = slot.startsWith('local') ? local : remote
    const key = `${this.pg} ${slot}`
    if (effect.kind === 'release') return reserver.release(key)
    const { round } = effect
    // The driver gives inputs in a later step.
    reserver.request(key, effect.priority, {
      onGranted: () => this.world.later(`${this.pg}@${this.osd}`, () => this.onSlot(slot, round, true)),
      onPreempted: () => this.world.later(`${this.pg}@${this.osd}`, () => this.onSlot(slot, round, false)),
    })
  }

  private onSlot(slot: string, round: number, granted: boolean): void {
    if (slot === 'remote-recovery') {
      if (granted) this.replica.onGranted(slot, round)
      else this.replica.onRevoked(slot, round)
    } else if (granted) this.reservations.onLocalGranted(round)
    else this.reservations.onLocalRevoked(round)
  }

  deliver(from: OsdId, message: PeerMessage, isPrimary: boolean): void {
    if (message.kind === 'reserve') this.replica.onReserve(from, message)
    else if (message.kind === 'reserved') this.reservations.onReserved(from, message.round)
    else if (message.kind === 'release' && isPrimary) this.reservations.onRevoked(from, message.round, message.tooFull)
    else if (message.kind === 'release') this.replica.onRelease(message)
  }
}

class World {
  readonly random: Prng
  readonly osds: readonly Osd[]
  readonly pgs: { readonly primary: OsdId; readonly targets: readonly OsdId[]; readonly members: Map<OsdId, Member> }[]
  private readonly channels = new Map<string, (() => void)[]>()

  /** `coded`: members are shards, and now and then two of a placement group lie on one OSD. */
  constructor(seed: number, osds: number, pgs: number, coded = false) {
    this.random = new Prng(seed)
    this.osds = Array.from({ length: osds }, () => ({ local: new Reserver(1), remote: new Reserver(1) }))
    this.pgs = Array.from({ length: pgs }, (_, pg) => {
      const chosen = this.shuffled(osds).slice(0, 2 + this.random.below(osds - 1))
      if (coded && this.random.below(3) === 0) chosen.push(must(chosen[this.random.below(chosen.length)], 'an OSD'))
      const [primary, ...targets] = coded ? chosen.map((osd, shard) => memberOf(osd, shard)) : chosen
      const members = [primary, ...targets].map((osd) => [osd as OsdId, new Member(this, pg, osd as OsdId)] as const)
      return { primary: primary as OsdId, targets, members: new Map(members) }
    })
  }

  private shuffled(count: number): OsdId[] {
    return Array.from({ length: count }, (_, id) => ({ id: osdId(id), at: this.random.fraction() }))
      .sort((a, b) => a.at - b.at)
      .map(({ id }) => id)
  }

  osd(id: OsdId): Osd {
    return must(this.osds[osdOf(id)], 'an OSD')
  }

  primaryOf(pg: number): Member {
    const { members, primary } = must(this.pgs[pg], 'a placement group')
    return must(members.get(primary), 'its primary')
  }

  ask(member: Member): void {
    member.reservations.request(must(this.pgs[member.pg], 'a placement group').targets, 100 + this.random.below(4))
  }

  send(pg: number, from: OsdId, to: OsdId, message: PeerMessage): void {
    const { members, primary } = must(this.pgs[pg], 'a placement group')
    this.later(`${from}>${to}`, () => members.get(to)?.deliver(from, message, to === primary))
  }

  /** In order per channel. */
  later(channel: string, run: () => void): void {
    const queue = this.channels.get(channel) ?? []
    queue.push(run)
    this.channels.set(channel, queue)
  }

  /** One thing that can happen, by chance. False: nothing can. */
  step(): boolean {
    const ready = [...this.channels].filter(([, queue]) => queue.length > 0)
    const chosen = ready[this.random.below(Math.max(1, ready.length))]
    chosen?.[1].shift()?.()
    return chosen !== undefined
  }

  held(): readonly string[] {
    return this.osds.flatMap(({ local, remote }) =>
      [local, remote].flatMap((reserver) => [...reserver.summary().granted, ...reserver.summary().waiting]),
    )
  }
}

/** Three turns for each placement group; whoever has its slots works for a while. */
function takeTurns(seed: number, coded = false): void {
  const world = new World(seed, 2 + (seed % 4), 3 + (seed % 6), coded)
  const left = new Map(world.pgs.map((_, pg) => [pg, 3]))
  for (const pg of left.keys()) world.ask(world.primaryOf(pg))
  for (let steps = 0; left.size > 0; steps++) {
    assert(steps < 100_000, `seed ${seed} goes on`)
    const moved = world.step()
    if (moved && world.random.below(10) > 0) continue
    const ready = [...left.keys()].filter((pg) => world.primaryOf(pg).reservations.isGranted)
    const pg = ready[world.random.below(Math.max(1, ready.length))]
    assert(pg !== undefined || moved, `seed ${seed}: nobody moves: ${JSON.stringify(world.held())}`)
    if (pg === undefined) continue
    world.primaryOf(pg).reservations.release()
    const turns = (left.get(pg) as number) - 1
    left.set(pg, turns)
    if (turns === 0) left.delete(pg)
    else world.ask(world.primaryOf(pg))
  }
  while (world.step()) continue
  expect(world.held(), `seed ${seed}`).toEqual([])
}

describe('reservations', () => {
  it('give everybody its turn, and all come back', () => {
    for (let seed = 0; seed < 200; seed++) takeTurns(seed)
  })

  it('give every erasure-coded group its turn, too', () => {
    for (let seed = 0; seed < 200; seed++) takeTurns(seed, true)
  })

  it('are void once the interval is over, whatever answers still come', () => {
    for (let seed = 0; seed < 100; seed++) {
      const world = new World(seed, 3, 4)
      for (const pg of world.pgs.keys()) world.ask(world.primaryOf(pg))
      for (let i = world.random.below(30); i > 0; i--) world.step()
      for (const { members } of world.pgs) {
        for (const member of members.values()) {
          member.reservations.reset()
          member.replica.reset()
        }
      }
      // Messages of the interval that is over are not delivered; inputs of the driver are.
      for (const { members, primary } of world.pgs) {
        expect(members.get(primary)?.reservations.isAsked).toBe(false)
      }
      expect(world.held()).toEqual([])
    }
  })

  it('do get taken away in these runs', () => {
    let revoked = 0
    for (let seed = 0; seed < 20; seed++) {
      const world = new World(seed, 4, 8)
      for (const pg of world.pgs.keys()) world.ask(world.primaryOf(pg))
      for (let steps = 0; steps < 500 && world.step(); steps++) continue
      for (const pg of world.pgs.keys()) revoked += world.primaryOf(pg).revoked
    }
    expect(revoked).toBeGreaterThan(20)
  })
})
