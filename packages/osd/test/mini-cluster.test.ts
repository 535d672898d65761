/** OSDs from mkfs to recovery, with everything real but the monitors and the machines. */
import { type OsdId, type PgId, pgId } from '@shoal/base'
import { placeObject } from '@shoal/cluster-map'
import { describe, expect, it } from 'vitest'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'

describe('a small cluster', () => {
  it('boots, makes a pool, writes and reads, and stays silent when idle', async () => {
    const cluster = await MiniCluster.create(1, 3)
    await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    for (let i = 0; i < 20; i++) await cluster.put(things, `thing-${i}`, bytesOf(i, 10_000 + i))
    for (let i = 0; i < 20; i++) expect(await cluster.get(things, `thing-${i}`)).toEqual(bytesOf(i, 10_000 + i))
    expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
    expect(cluster.monitors.reports).toEqual([])
    await cluster.world.time.advance(10_000)
    const before = cluster.monitors.osdReports.length
    const { epoch } = cluster.monitors.map
    await cluster.world.time.advance(50_000)
    expect(cluster.monitors.osdReports.length - before).toBeLessThanOrEqual(3)
    expect(cluster.monitors.map.epoch).toBe(epoch)
  })

  it('goes on when an OSD is killed, and recovers exactly what it missed', async () => {
    const cluster = await MiniCluster.create(2, 3)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    for (let i = 0; i < 30; i++) await cluster.put(things, `thing-${i}`, bytesOf(i, 5_000))
    cluster.kill(1)
    const killedMs = cluster.world.time.nowMs
    for (let i = 0; i < 12; i++) await cluster.put(things, `thing-${i}`, bytesOf(100 + i, 6_000))
    expect(cluster.world.time.nowMs - killedMs).toBeLessThan(4_000)
    expect(cluster.monitors.reports.some((report) => report.refused && report.failed === 1)).toBe(true)
    await cluster.start(1)
    await cluster.untilClean(pool)
    for (let i = 0; i < 30; i++) {
      expect(await cluster.get(things, `thing-${i}`)).toEqual(i < 12 ? bytesOf(100 + i, 6_000) : bytesOf(i, 5_000))
    }
    let recovered = 0
    for (const id of [0, 1, 2]) recovered += (await cluster.counters(id))['recoveredObjects'] ?? 0
    expect(recovered).toBe(12)
  })

  it('keeps every acknowledged write when the power of all machines fails at once', async () => {
    const cluster = await MiniCluster.create(3, 3)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    for (let i = 0; i < 20; i++) await cluster.put(things, `thing-${i}`, bytesOf(i, 9_000))
    for (const machine of cluster.machines) machine.powerCut()
    for (const id of [0, 1, 2]) await cluster.start(id)
    await cluster.untilClean(pool)
    for (let i = 0; i < 20; i++) expect(await cluster.get(things, `thing-${i}`)).toEqual(bytesOf(i, 9_000))
  })

  it('comes to rest when fewer OSDs may hold a copy than the pool wants: the copy that is there stays', async () => {
    const cluster = await MiniCluster.create(6, 3)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    for (let i = 0; i < 10; i++) await cluster.put(things, `thing-${i}`, bytesOf(i, 5_000))
    cluster.monitors.setOsd(0 as OsdId, { weight: 0 })
    await cluster.until(() => cluster.monitors.allPgs(pool, 'active', 'clean', 'remapped'))
    const { epoch, pgTemp } = cluster.monitors.map
    expect(pgTemp.size).toBe(8)
    for (let i = 0; i < 10; i++) await cluster.put(things, `thing-${i}`, bytesOf(50 + i, 5_000))
    await cluster.world.time.advance(60_000)
    expect(cluster.monitors.map.epoch).toBe(epoch)
    // Back in: CRUSH's choice again, and nothing to recover, for it took part all the time.
    cluster.monitors.setOsd(0 as OsdId, { weight: 0x10000 })
    await cluster.world.time.advance(5_000)
    await cluster.untilClean(pool)
    expect((await cluster.counters(0))['recoveredObjects'] ?? 0).toBe(0)
    for (let i = 0; i < 10; i++) expect(await cluster.get(things, `thing-${i}`)).toEqual(bytesOf(50 + i, 5_000))
  })

  it('says goodbye when it stops, so that nobody waits for a timeout', async () => {
    const cluster = await MiniCluster.create(4, 3)
    await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    await cluster.put(things, 'thing', bytesOf(1, 100))
    await cluster.stop(0)
    expect(cluster.monitors.map.osds.get(0 as OsdId)?.up).toBe(false)
    expect(await cluster.get(things, 'thing')).toEqual(bytesOf(1, 100))
    expect(cluster.monitors.reports).toEqual([])
  })

  it('fills a new store under the id of a lost one, and refuses it while the old one is registered', async () => {
    const cluster = await MiniCluster.create(5, 3)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    for (let i = 0; i < 25; i++) await cluster.put(things, `thing-${i}`, bytesOf(i, 4_000))
    cluster.kill(2)
    await cluster.until(() => cluster.monitors.map.osds.get(2 as OsdId)?.up === false)
    const machine = cluster.world.machine('host-2b')
    cluster.machines[2] = machine
    await expect(cluster.start(2)).rejects.toMatchObject({ code: 'EEXIST' })
    machine.kill()
    cluster.monitors.destroy(2 as OsdId)
    await cluster.start(2)
    await cluster.untilClean(pool)
    // Only the new store and one other are left: half of the primaries read from the new one.
    cluster.kill(0)
    for (let i = 0; i < 25; i++) expect(await cluster.get(things, `thing-${i}`)).toEqual(bytesOf(i, 4_000))
  })

  it('comes back by itself when it was marked down by mistake', async () => {
    const cluster = await MiniCluster.create(6, 3)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    await cluster.put(things, 'thing', bytesOf(1, 100))
    cluster.monitors.markDown(1 as OsdId)
    await cluster.until(() => cluster.monitors.map.osds.get(1 as OsdId)?.up === true)
    await cluster.untilClean(pool)
    expect(await cluster.get(things, 'thing')).toEqual(bytesOf(1, 100))
    expect(cluster.monitors.logEntries.map((entry) => entry.message)).toContainEqual(
      expect.stringContaining('marks me down, but I live'),
    )
  })

  it('repairs a bad block on read and never returns it', async () => {
    const cluster = await MiniCluster.create(7, 3)
    await cluster.pool('things', 1, 3, 2)
    const things = await cluster.client('things')
    const content = bytesOf(9, 200_000)
    await cluster.put(things, 'thing', content)
    const { placement } = { placement: placeObject(cluster.monitors.map, 1 as never, '', 'thing') }
    expect(placement.pgId).toBe(pgId(1 as never, 0))
    const stats = cluster.monitors.pgStats.get('1.0' as PgId)
    const primary = stats?.actingPrimary as number
    await cluster.stop(primary)
    const path = '/data/store/data'
    const env = cluster.machine(primary).start()
    const file = await env.disk.open(path, 'read-write')
    const found = new Uint8Array(await file.sizeBytes())
    await file.read(found, 0)
    const at = Buffer.from(found).indexOf(Buffer.from(content.subarray(0, 64)))
    expect(at).toBeGreaterThanOrEqual(0)
    await file.write([new Uint8Array([(content[50] as number) ^ 0x40])], at + 50)
    await file.datasync()
    await file.close()
    cluster.machine(primary).kill()
    await cluster.start(primary)
    await cluster.untilClean(1 as never)
    await cluster.until(() => cluster.monitors.pgStats.get('1.0' as PgId)?.actingPrimary === primary)
    expect(await cluster.get(things, 'thing')).toEqual(content)
    const counters = await cluster.counters(primary)
    expect(counters['storeChecksumErrors']).toBeGreaterThanOrEqual(1)
    expect(counters['repairedObjects']).toBe(1)
    expect(await cluster.get(things, 'thing')).toEqual(content)
    expect((await cluster.counters(primary))['storeChecksumErrors']).toBe(counters['storeChecksumErrors'])
  })

  it('survives garbage on its ports, and answers unsound operations with codes', async () => {
    const cluster = await MiniCluster.create(8, 3)
    await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    await cluster.put(things, 'thing', bytesOf(1, 100))
    const env = cluster.world.machine('stranger').start()
    const { data, heartbeat } = cluster.daemons[0]?.listening ?? { data: '' as never, heartbeat: '' as never }
    let closed = 0
    for (const port of [data, heartbeat]) {
      for (const seed of [1, 2, 3]) {
        const stream = env.network.connect(port)
        const handler = { onOpen: () => stream.write([bytesOf(seed, 70_000)]), onData: () => undefined }
        stream.attach({ ...handler, onDrain: () => undefined, onClose: () => closed++ })
      }
    }
    await cluster.until(() => closed === 6)
    expect(await cluster.get(things, 'thing')).toEqual(bytesOf(1, 100))
    expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
    await expect(cluster.get(things, 'nothing')).rejects.toMatchObject({ code: 'ENOENT' })
    const unknown = cluster.run(things.execute('thing', [{ kind: 'set-xattr', name: '_', value: bytesOf(1, 1) }]))
    await expect(unknown).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('refuses writes but not removals when its store is full', async () => {
    const cluster = await MiniCluster.create(9, 3, { sizeBytes: 8 * 1024 * 1024 })
    await cluster.pool('things', 4, 3, 2)
    const things = await cluster.client('things')
    const write = async (name: string) => cluster.put(things, name, bytesOf(1, 256 * 1024))
    let written = 0
    const fill = async (): Promise<void> => {
      for (; written < 100; written++) await write(`thing-${written}`)
    }
    await expect(fill()).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(written).toBeGreaterThan(16)
    for (let i = 0; i < 8; i++) await cluster.run(things.execute(`thing-${i}`, [{ kind: 'remove' }]))
    await cluster.world.time.advance(1_000)
    await write('another')
    expect(await cluster.get(things, 'thing-9')).toEqual(bytesOf(1, 256 * 1024))
  })

  it('tells of itself: perf, ops, status and placement groups', async () => {
    const cluster = await MiniCluster.create(10, 3)
    await cluster.pool('things', 4, 3, 2)
    const things = await cluster.client('things')
    for (let i = 0; i < 10; i++) await cluster.put(things, `thing-${i}`, bytesOf(i, 100))
    let writes = 0
    for (const id of [0, 1, 2]) {
      const perf = (await cluster.ask(id, 'perf')) as { histograms: { opWriteLatencyUs: { count: number } } }
      writes += perf.histograms.opWriteLatencyUs.count
    }
    expect(writes).toBe(10)
    expect(await cluster.ask(0, 'ops')).toEqual({ inFlight: [], slow: [] })
    expect(await cluster.ask(0, 'status')).toMatchObject({ osd: 0, state: 'up', pgs: 4, silentPeers: [] })
    expect(await cluster.ask(0, 'pg query', { pgid: '1.0' })).toMatchObject({ pgId: '1.0', peering: {} })
    await expect(cluster.ask(0, 'pg query', { pgid: '7.0' })).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(cluster.ask(0, 'pg query', { pgid: 5 })).rejects.toMatchObject({ code: 'EINVAL' })
  })
})
