import { type Epoch, isClusterError, type OsdId } from '@shoal/base'
import type { MonitorStat } from '@shoal/monitor-client'
import { describe, expect, it } from 'vitest'
import { MonitorDaemon } from '../src/index.ts'
import { bootOf, MonitorCluster } from './support/monitor-cluster.ts'

async function cluster(seed: number, settings = {}): Promise<MonitorCluster> {
  const made = new MonitorCluster(seed, 3, settings)
  await made.found()
  return made
}

describe('three monitors', () => {
  it('elect a leader, answer through followers, and tell subscribers every epoch in order', async () => {
    const mons = await cluster(1)
    const followers = [...mons.members.keys()].filter((name) => name !== mons.leader)
    const client = await mons.started(mons.client([followers[0] as string]))
    const epochs: number[] = []
    client.onOsdMap((map) => epochs.push(map.epoch))
    for (const pool of ['one', 'two', 'three']) {
      const reply = await mons.command(client, { prefix: 'osd pool create', pool, pg_num: 8 })
      expect(reply.status).toBe(`pool '${pool}' created`)
    }
    await mons.settle(client.waitForEpoch(4 as Epoch, 5_000))
    expect(epochs).toEqual([2, 3, 4])
    expect([...(client.osdMap?.pools.values() ?? [])].map((pool) => pool.name)).toEqual(['one', 'two', 'three'])
    const { data } = await mons.command(client, { prefix: 'mon stat' })
    expect(data).toMatchObject({ leader: mons.leader, quorum: ['a', 'b', 'c'], outOfQuorum: [] })
  })

  it('goes on without the leader, keeps what was acknowledged, and takes it back', async () => {
    const mons = await cluster(2)
    const client = await mons.started(mons.client())
    await mons.command(client, { prefix: 'osd pool create', pool: 'kept', pg_num: 8 })
    const first = mons.leader as string
    mons.powerCut(first)
    await mons.command(client, { prefix: 'osd pool create', pool: 'later', pg_num: 8 })
    await mons.world.time.advance(8_000)
    const { data } = await mons.command(client, { prefix: 'health' })
    expect(data).toMatchObject({ status: 'HEALTH_WARN' })
    expect(JSON.stringify(data)).toContain(`mon.${first}`)
    await mons.start(first)
    await mons.world.time.advance(3_000)
    const again = (await mons.command(client, { prefix: 'mon stat' })).data as MonitorStat
    expect(again.quorum).toEqual(['a', 'b', 'c'])
    const stale = await mons.command(await mons.started(mons.client([first])), { prefix: 'osd pool ls', stale: true })
    expect(stale).toMatchObject({ stale: true, data: [{ name: 'kept' }, { name: 'later' }] })
  })

  it('loses nothing when all of them lose power at once', async () => {
    const mons = await cluster(3)
    const client = await mons.started(mons.client())
    await mons.settle(client.boot(bootOf(0)))
    for (let i = 0; i < 20; i++) {
      await mons.command(client, { prefix: 'osd reweight', id: 0, weight: i % 2 === 0 ? 0.5 : 0.75 })
    }
    const before = (await mons.command(client, { prefix: 'osd dump' })).data
    for (const name of mons.members.keys()) mons.powerCut(name)
    for (const name of mons.members.keys()) await mons.start(name)
    await mons.world.time.until(() => mons.leader !== undefined)
    expect((await mons.command(client, { prefix: 'osd dump' })).data).toEqual(before)
  })

  it('refuses writes and linearizable reads in a minority, and marks stale reads', async () => {
    const mons = await cluster(4)
    const client = await mons.started(mons.client())
    await mons.command(client, { prefix: 'osd pool create', pool: 'before', pg_num: 8 })
    await mons.world.time.advance(1_000)
    mons.powerCut('b')
    mons.powerCut('c')
    await mons.world.time.advance(10_000)
    const left = mons.client(['a'])
    for (const command of [{ prefix: 'osd pool ls' }, { prefix: 'osd set', key: 'noout' }]) {
      await expect(mons.command(left, command, 6_000)).rejects.toMatchObject({ code: 'ENOQUORUM' })
    }
    const stale = await mons.command(left, { prefix: 'osd pool ls', stale: true })
    expect(stale).toMatchObject({ stale: true, data: [{ name: 'before' }] })
    const health = await mons.command(left, { prefix: 'health', stale: true })
    expect(health.data).toMatchObject({ status: 'HEALTH_ERR', checks: [{ code: 'MON_DOWN' }, {}] })
    await expect(mons.command(left, { prefix: 'osd set', key: 'noout', stale: true }, 4_000)).rejects.toThrow()
  })

  it('does not let a cut-off leader answer', async () => {
    const mons = await cluster(5)
    const old = mons.leader as string
    const captive = await mons.started(mons.client([old]))
    const free = await mons.started(mons.client([...mons.members.keys()].filter((name) => name !== old)))
    mons.isolate(old)
    await mons.command(free, { prefix: 'osd pool create', pool: 'new', pg_num: 8 })
    mons.isolated.clear()
    // The old leader is reachable for its client before it has heard of the new one.
    const reply = await mons.command(captive, { prefix: 'osd pool ls' })
    expect(reply.data).toMatchObject([{ name: 'new' }])
  })

  it('runs a command once though it is retried', async () => {
    const mons = await cluster(6)
    const client = await mons.started(mons.client())
    const daemon = mons.daemon(mons.leader as string)
    const request = {
      command: { prefix: 'log', logtext: 'only once' },
      requestId: 'r1',
      stale: false,
      forwarded: false,
      timeoutMs: 5_000,
    }
    await mons.settle(Promise.all([daemon.command(request), daemon.command(request)]))
    await mons.settle(daemon.command(request))
    const { data } = await mons.command(client, { prefix: 'log last', num: 50 })
    expect((data as { message: string }[]).filter((entry) => entry.message === 'only once')).toHaveLength(1)
  })
})

describe('membership', () => {
  it('adds a monitor that learns first and then votes, and removes one', async () => {
    const mons = await cluster(11)
    const client = await mons.started(mons.client())
    await mons.command(client, { prefix: 'osd pool create', pool: 'p', pg_num: 8 })
    await join(mons, 'd', 3)
    await mons.start('d')
    await mons.world.time.advance(6_000)
    const stat = (await mons.command(client, { prefix: 'mon stat' })).data as MonitorStat
    expect(stat.quorum).toEqual(['a', 'b', 'c', 'd'])
    const copy = await mons.command(mons.client(['d']), { prefix: 'osd pool ls', stale: true })
    expect(copy.data).toMatchObject([{ name: 'p' }])
    await mons.command(client, { prefix: 'mon rm', name: mons.leader as string })
    await mons.world.time.advance(10_000)
    const after = (await mons.command(client, { prefix: 'mon stat' })).data as MonitorStat
    expect(after.quorum).toHaveLength(3)
    expect(after.outOfQuorum).toEqual([])
    await mons.command(client, { prefix: 'osd pool create', pool: 'q', pg_num: 8 })
  })

  it('replaces a monitor whose disk is lost', async () => {
    const mons = await cluster(12)
    const client = await mons.started(mons.client())
    const lost = mons.leader === 'b' ? 'c' : 'b'
    mons.powerCut(lost)
    mons.member(lost).machine.keyValue.disk('/var/mon/consensus').powerCut()
    await mons.world.time.advance(8_000)
    await mons.command(client, { prefix: 'mon rm', name: lost })
    mons.members.delete(lost)
    await join(mons, lost, 7)
    await mons.start(lost)
    await mons.world.time.advance(8_000)
    const stat = (await mons.command(client, { prefix: 'mon stat' })).data as MonitorStat
    expect([...stat.quorum].sort()).toEqual(['a', 'b', 'c'])
    mons.powerCut(mons.leader as string)
    await mons.command(client, { prefix: 'osd set', key: 'noout' })
  })

  it('takes one back that was away while all that it knew were replaced', async () => {
    const mons = await cluster(14)
    const client = await mons.started(mons.client(['d', 'e', 'a']))
    const away = mons.leader === 'c' ? 'b' : 'c'
    mons.powerCut(away)
    for (const [name, index] of [
      ['d', 3],
      ['e', 4],
    ] as const) {
      await join(mons, name, index)
      await mons.start(name)
      await mons.world.time.advance(6_000)
    }
    const known = ['a', 'b', 'c'].filter((name) => name !== away)
    for (const name of known) {
      await mons.command(client, { prefix: 'mon rm', name }, 30_000)
      await mons.world.time.advance(6_000)
      mons.powerCut(name)
    }
    await mons.start(away)
    await mons.world.time.advance(8_000)
    const stat = (await mons.command(client, { prefix: 'mon stat' })).data as MonitorStat
    expect([...stat.quorum].sort()).toEqual([away, 'd', 'e'])
  })

  it('refuses a removal that would cost the quorum', async () => {
    const mons = await cluster(13)
    const client = await mons.started(mons.client())
    const [down, other] = [...mons.members.keys()].filter((name) => name !== mons.leader)
    mons.powerCut(down as string)
    await mons.world.time.advance(8_000)
    const refused = mons.command(client, { prefix: 'mon rm', name: other as string })
    await expect(refused).rejects.toMatchObject({ code: 'EBUSY' })
    await expect(mons.command(client, { prefix: 'mon rm', name: 'z' })).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

async function join(mons: MonitorCluster, name: string, index: number): Promise<void> {
  const { machine, address } = mons.member(name, index)
  const joining = MonitorDaemon.join(machine.start(), '/var/mon', {
    name,
    address,
    monitors: [...mons.members.values()].map((member) => member.address).filter((other) => other !== address),
    transport: mons.network.transport(`joining-${name}`),
  })
  await mons.settle(joining)
  machine.kill()
}

describe('OSDs', () => {
  it('come in when they boot, and a new run of one ends the old run one epoch earlier', async () => {
    const mons = await cluster(21)
    const client = await mons.started(mons.client())
    for (let i = 0; i < 3; i++) await mons.settle(client.boot(bootOf(i)))
    expect((await mons.command(client, { prefix: 'osd stat' })).data).toMatchObject({ osds: 3, up: 3, in: 3 })
    const states: boolean[] = []
    client.onOsdMap((map) => states.push(map.osds.get(0 as OsdId)?.up ?? false))
    await mons.settle(client.boot(bootOf(0, 2)))
    await mons.world.time.advance(100)
    expect(states).toEqual([false, true])
    const thief = { ...bootOf(0, 3), uuid: 'another-store' }
    await expect(mons.settle(client.boot(thief))).rejects.toMatchObject({ code: 'EEXIST' })
    await mons.settle(client.shutdown(0 as OsdId, 2))
    await mons.world.time.advance(100)
    const osd = client.osdMap?.osds.get(0 as OsdId)
    expect(osd).toMatchObject({ up: false, lastCleanEnd: client.osdMap?.epoch })
  })

  it('are marked down by two reporters within six seconds, out after the interval, in when they return', async () => {
    const mons = await cluster(22, { mon_osd_down_out_interval: 60, mon_osd_report_timeout: 3_600 })
    const client = await mons.started(mons.client())
    for (let i = 0; i < 5; i++) await mons.settle(client.boot(bootOf(i)))
    const report = (reporter: number, refused = false) =>
      client.reportFailure({
        reporter: reporter as OsdId,
        failed: 4 as OsdId,
        incarnation: 1,
        silentForMs: 4_500,
        refused,
        retracted: false,
        epoch: client.osdMap?.epoch ?? (0 as Epoch),
      })
    const isUp = () => client.osdMap?.osds.get(4 as OsdId)?.up
    report(0)
    await mons.world.time.advance(2_000)
    expect(isUp()).toBe(true)
    report(1)
    await mons.world.time.advance(1_500)
    expect(isUp()).toBe(false)
    expect((await mons.command(client, { prefix: 'health' })).data).toMatchObject({
      checks: [{ code: 'OSD_DOWN', mend: 'shoal daemon start osd.4' }],
    })
    await mons.world.time.advance(62_000)
    expect(client.osdMap?.osds.get(4 as OsdId)).toMatchObject({ weight: 0, autoOut: true })
    await mons.settle(client.boot(bootOf(4, 2)))
    await mons.world.time.advance(100)
    expect(client.osdMap?.osds.get(4 as OsdId)).toMatchObject({ weight: 0x10000, autoOut: false, up: true })
  })

  it('stay up under nodown, and go down at once when their port refuses', async () => {
    const mons = await cluster(23)
    const client = await mons.started(mons.client())
    for (let i = 0; i < 3; i++) await mons.settle(client.boot(bootOf(i)))
    await mons.command(client, { prefix: 'osd set', key: 'nodown' })
    client.reportFailure({
      reporter: 0 as OsdId,
      failed: 2 as OsdId,
      incarnation: 1,
      silentForMs: 0,
      refused: true,
      retracted: false,
      epoch: 1 as Epoch,
    })
    await mons.world.time.advance(3_000)
    expect(client.osdMap?.osds.get(2 as OsdId)?.up).toBe(true)
    await mons.command(client, { prefix: 'osd unset', key: 'nodown' })
    await mons.world.time.advance(2_000)
    expect(client.osdMap?.osds.get(2 as OsdId)?.up).toBe(false)
  })

  it('that tell nothing for long are marked down, but not by a leader that has just begun', async () => {
    const mons = await cluster(24, { mon_osd_report_timeout: 20 })
    const client = await mons.started(mons.client())
    await mons.settle(client.boot(bootOf(0)))
    await mons.world.time.advance(15_000)
    mons.powerCut(mons.leader as string)
    await mons.world.time.advance(10_000)
    expect(client.osdMap?.osds.get(0 as OsdId)?.up).toBe(true)
    await mons.world.time.advance(20_000)
    expect(client.osdMap?.osds.get(0 as OsdId)?.up).toBe(false)
  })
})

it('answers bad commands with a code and a hint', async () => {
  const mons = await cluster(31)
  const client = await mons.started(mons.client())
  const codeOf = async (command: Parameters<typeof client.command>[0]) => {
    try {
      await mons.command(client, command)
      return 'done'
    } catch (error) {
      if (!isClusterError(error)) throw error
      expect(error.message.length).toBeGreaterThan(5)
      return error.code
    }
  }
  expect(await codeOf({ prefix: 'osd pool get', pool: 'none' })).toBe('ENOENT')
  expect(await codeOf({ prefix: 'osd flush' })).toBe('EINVAL')
  expect(await codeOf({ prefix: 'osd out', ids: [7] })).toBe('ENOENT')
  expect(await codeOf({ prefix: 'osd out', ids: 'x' })).toBe('EINVAL')
  expect(await codeOf({ prefix: 'osd pool create', pool: 'big', pg_num: 4096 })).toBe('ERANGE')
  expect(await codeOf({ prefix: 'osd pool create', pool: 'a/b' })).toBe('EINVAL')
  expect(await codeOf({ prefix: 'osd pool create', pool: 'p', size: 2, min_size: 3 })).toBe('EINVAL')
  expect(await codeOf({ prefix: 'osd pool create', pool: 'p', pg_num: 8 })).toBe('done')
  expect(await codeOf({ prefix: 'osd pool rm', pool: 'p', pool2: 'p' })).toBe('EPERM')
  expect(await codeOf({ prefix: 'osd pool rm', pool: 'p', pool2: 'p', sure: true })).toBe('done')
  expect(await codeOf({ prefix: 'pg map', pgid: '9.0' })).toBe('ENOENT')
  expect(await codeOf({ prefix: 'osd crush rule rm', name: 'nope' })).toBe('ENOENT')
})
