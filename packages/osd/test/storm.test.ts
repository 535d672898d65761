/** OSDs killed, cut off from power, stopped and started at random under load: no acknowledged write is ever lost. */
import { Prng } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'

const objects = 12
const rounds = 8
const seeds = process.env['STORM_SEEDS']?.split(',').map(Number) ?? [11, 12]

/** What an object may hold: the last acknowledged content, or one whose write has no known outcome. */
type Candidates = (readonly [seed: number, length: number] | undefined)[]

describe('a storm of failures', () => {
  it.each(seeds)('loses nothing that was acknowledged (seed %i)', async (seed) => {
    const random = new Prng([seed, 1, 2])
    const cluster = await MiniCluster.create(seed, 4, { ioDelayMs: { min: 0.1, max: 3 } })
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    const held = new Map<string, Candidates>()
    let content = 0
    const writeSome = async (): Promise<void> => {
      const writes = Array.from({ length: 16 }, async () => {
        const name = `thing-${random.below(objects)}`
        const next = [++content, 1 + random.below(20_000)] as const
        held.set(name, [...(held.get(name) ?? [undefined]), next])
        await things.execute(name, [{ kind: 'write-full', data: bytesOf(...next) }])
        // Writes of one object are ordered: those before this one are gone, those after it may have come.
        const now = held.get(name) ?? []
        const at = now.indexOf(next)
        if (at >= 0) held.set(name, now.slice(at))
      })
      await Promise.all(writes)
    }
    const check = async (): Promise<void> => {
      for (const [name, candidates] of held) {
        const found = await cluster.get(things, name)
        const matches = candidates.some((one) => one !== undefined && Buffer.compare(bytesOf(...one), found) === 0)
        expect(matches, `${name} has one of ${candidates.length} contents`).toBe(true)
      }
    }
    for (let round = 0; round < rounds; round++) {
      const work = writeSome()
      await cluster.world.time.advance(random.below(40))
      const victims = [0, 1, 2, 3].slice(0, 1 + random.below(4)).map((osd) => (osd + round) % 4)
      for (const victim of victims) {
        if (random.below(2) === 0) cluster.kill(victim)
        else cluster.cutPower(victim)
      }
      await cluster.world.time.advance(random.below(6_000))
      for (const victim of victims) await cluster.start(victim)
      await cluster.run(work, 120_000)
      if (random.below(3) === 0) await cluster.stop(round % 4)
      await cluster.run(writeSome(), 120_000)
      await check()
      if (cluster.daemons[round % 4] === undefined) await cluster.start(round % 4)
      if (random.below(2) === 0) await cluster.untilClean(pool, 120_000)
    }
    await cluster.untilClean(pool, 120_000)
    await check()
    expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
  })
})
