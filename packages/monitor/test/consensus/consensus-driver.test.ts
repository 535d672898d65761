import { utf8Encode } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { MachineRoom } from './machine-room.ts'

const command = (text: string): Uint8Array => utf8Encode(text)

async function roomOfThree(options = {}): Promise<MachineRoom> {
  const room = new MachineRoom(options)
  await room.found([1, 2, 3])
  return room
}

describe('consensus driver', () => {
  it('answers a proposal with what apply returned, and applies it everywhere', async () => {
    const room = await roomOfThree()
    const leader = await room.leader()
    expect(await room.settle(leader.propose(command('a')))).toBe(1)
    expect(await room.settle(leader.propose(command('b')))).toBe(2)
    await room.timers.advance(500)
    for (const ledger of room.ledgers.values()) expect(ledger.commands).toEqual(['a', 'b'])
  })

  it('writes many concurrent proposals in few batches', async () => {
    const room = await roomOfThree()
    const leader = await room.leader()
    await room.settle(leader.propose(command('warm')))
    let syncs = 0
    room.stores.disk(`mon.${leader.status().id}`).beforeBatch = async (sync) => {
      if (sync) syncs++
    }
    await room.settle(Promise.all(Array.from({ length: 200 }, (_, i) => leader.propose(command(`p${i}`)))))
    expect(syncs).toBeLessThan(10)
  })

  it('is idle without writing', async () => {
    const room = await roomOfThree()
    await room.leader()
    await room.timers.advance(2_000)
    let writes = 0
    for (const id of [1, 2, 3]) {
      room.stores.disk(`mon.${id}`).beforeBatch = async () => {
        writes++
      }
    }
    await room.timers.advance(20_000)
    expect(writes).toBe(0)
  })

  it('refuses on followers with the leader as a hint, and without a leader with ENOQUORUM', async () => {
    const room = await roomOfThree()
    const leader = await room.leader()
    await room.timers.advance(500)
    const followerId = [1, 2, 3].find((id) => id !== leader.status().id) as number
    await expect(room.driver(followerId).propose(command('x'))).rejects.toMatchObject({
      code: 'ENOTLEADER',
      outcome: 'not-applied',
      hint: `ask monitor ${leader.status().id}`,
    })
    room.unreachable.add(followerId)
    await room.timers.advance(6_000)
    await expect(room.driver(followerId).propose(command('x'))).rejects.toMatchObject({ code: 'ENOQUORUM' })
    await expect(room.driver(followerId).readBarrier()).rejects.toMatchObject({ code: 'ENOQUORUM' })
  })

  it('leaves the outcome of a proposal open when leadership is lost', async () => {
    const room = await roomOfThree()
    const leader = await room.leader()
    await room.settle(leader.propose(command('a')))
    room.unreachable.add(leader.status().id)
    await expect(room.settle(leader.propose(command('lost')))).rejects.toMatchObject({
      code: 'ENOTLEADER',
      outcome: 'unknown',
    })
    const next = await room.leader()
    expect(await room.settle(next.propose(command('kept')))).toBe(2)
    room.unreachable.clear()
    await room.timers.advance(3_000)
    for (const ledger of room.ledgers.values()) expect(ledger.commands).toEqual(['a', 'kept'])
  })

  it('times a proposal out with an unknown outcome, and a read without', async () => {
    const room = await roomOfThree()
    const leader = await room.leader()
    await room.settle(leader.propose(command('a')))
    for (const id of [1, 2, 3]) if (id !== leader.status().id) room.unreachable.add(id)
    const proposal = leader.propose(command('b'), 200)
    const read = leader.readBarrier(200)
    await expect(room.settle(proposal)).rejects.toMatchObject({ code: 'ETIMEDOUT', outcome: 'unknown' })
    await expect(room.settle(read)).rejects.toMatchObject({ code: 'ENOQUORUM', outcome: 'not-applied' })
  })

  it('reads linearizably: a barrier waits for what was acknowledged before it', async () => {
    const room = await roomOfThree()
    const leader = await room.leader()
    await room.settle(leader.propose(command('a')))
    await room.settle(leader.readBarrier())
    expect(room.ledgers.get(leader.status().id)?.commands).toEqual(['a'])
  })

  it('loses nothing acknowledged when every machine loses power, again and again', async () => {
    const room = await roomOfThree({ compactEvery: 7 })
    const acknowledged: string[] = []
    for (let round = 0; round < 8; round++) {
      const leader = await room.leader()
      for (let i = 0; i < 5; i++) {
        const text = `${round}.${i}`
        await room.settle(leader.propose(command(text)))
        acknowledged.push(text)
      }
      leader.propose(command(`${round}.doubtful`)).catch(() => undefined)
      if (round % 2 === 0) await room.timers.advance(10)
      for (const id of [1, 2, 3]) room.powerCut(id)
      for (const id of [1, 2, 3]) await room.start(id)
    }
    const leader = await room.leader()
    await room.settle(leader.propose(command('end')))
    const { commands } = room.ledgers.get(leader.status().id) ?? { commands: [] }
    expect(commands.filter((text) => !text.endsWith('doubtful'))).toEqual([...acknowledged, 'end'])
    expect(room.aborted).toEqual([])
  })

  it('compacts by entries, and brings one that slept long by snapshot', async () => {
    const room = await roomOfThree({ compactEvery: 20 })
    const leader = await room.leader()
    const sleeper = [1, 2, 3].find((id) => id !== leader.status().id) as number
    room.powerCut(sleeper)
    for (let i = 0; i < 100; i++) await room.settle(leader.propose(command(`${i}`)))
    expect(leader.status().logEntries).toBeLessThan(25)
    await room.start(sleeper)
    await room.timers.advance(3_000)
    expect(room.ledgers.get(sleeper)?.commands).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`))
  })

  it('adds a monitor as a learner, promotes it, removes another', async () => {
    const room = await roomOfThree()
    const leader = await room.leader()
    await room.settle(leader.propose(command('a')))
    await room.start(4)
    await room.settle(leader.changeMembership({ voters: [1, 2, 3], learners: [4] }))
    await room.timers.advance(1_000)
    expect(leader.lagOf(4)).toBe(0)
    await room.settle(leader.changeMembership({ voters: [1, 2, 3, 4], learners: [] }))
    const gone = [1, 2, 3].find((id) => id !== leader.status().id) as number
    const left = [1, 2, 3, 4].filter((id) => id !== gone)
    await room.settle(leader.changeMembership({ voters: left, learners: [] }))
    await room.settle(leader.propose(command('b')))
    await room.timers.advance(500)
    expect(room.ledgers.get(4)?.commands).toEqual(['a', 'b'])
    expect(room.driver(4).status().membership.voters).toEqual(left)
    await expect(leader.changeMembership({ voters: [4], learners: [] })).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('hands leadership over', async () => {
    const room = await roomOfThree()
    const leader = await room.leader()
    await room.settle(leader.propose(command('a')))
    const successor = [1, 2, 3].find((id) => id !== leader.status().id) as number
    leader.transferLeadership(successor)
    await room.timers.advance(300)
    expect(room.driver(successor).isLeader).toBe(true)
  })

  it('aborts when its store fails, and answers nothing afterwards', async () => {
    const room = await roomOfThree()
    const leader = await room.leader()
    await room.settle(leader.propose(command('a')))
    room.stores.disk(`mon.${leader.status().id}`).beforeBatch = async () => {
      throw new Error('the disk is gone')
    }
    await expect(room.settle(leader.propose(command('b')))).rejects.toMatchObject({ code: 'EIO', outcome: 'unknown' })
    expect(room.aborted).toEqual(['consensus failed'])
    await expect(leader.propose(command('c'))).rejects.toMatchObject({ code: 'ESHUTDOWN' })
  })

  it('drops garbage and messages in another name', async () => {
    const room = await roomOfThree()
    const leader = await room.leader()
    leader.receive(2, new Uint8Array([1, 2, 3]))
    leader.receive(2, new Uint8Array(0))
    expect(await room.settle(leader.propose(command('a')))).toBe(1)
  })
})
