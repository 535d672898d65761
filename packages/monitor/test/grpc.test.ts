import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { address, type Env, type Epoch, type OsdId, type PgId } from '@shoal/base'
import { callAdmin, GrpcMonitorClient, GrpcMonitorTransport, type StatsReport } from '@shoal/monitor-client'
import { createRealEnv } from '@shoal/runtime'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MonitorDaemon } from '../src/index.ts'
import { bootOf } from './support/monitor-cluster.ts'

const directory = mkdtempSync(join(tmpdir(), 'shoal-mon-'))
const env: Env = createRealEnv({ name: 'test', logLevel: 'error', logFile: join(directory, 'log') })
const daemons: MonitorDaemon[] = []
let client: GrpcMonitorClient

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const bound = server.address()
      server.close(() => resolve(typeof bound === 'object' && bound !== null ? bound.port : 0))
    })
  })
}

beforeAll(async () => {
  const monitors = await Promise.all(
    ['a', 'b', 'c'].map(async (name, i) => ({ id: i + 1, name, address: address(`127.0.0.1:${await freePort()}`) })),
  )
  for (const { name } of monitors) {
    const dataDirectory = join(directory, name)
    await MonitorDaemon.mkfs(env, dataDirectory, { fsid: 'real', name, monitors, failureDomain: 'osd' })
    daemons.push(await MonitorDaemon.start(env, { dataDirectory, transport: new GrpcMonitorTransport(env) }))
  }
  client = new GrpcMonitorClient(env, { monitors: monitors.map((monitor) => monitor.address), entity: 'client.test' })
  await client.start()
})

afterAll(async () => {
  await client.close()
  await Promise.all(daemons.map((daemon) => daemon.stop()))
  rmSync(directory, { recursive: true, force: true })
})

const statsOf = (osd: number, pgId: string): StatsReport => ({
  incarnation: 1,
  epoch: 2 as Epoch,
  osd: {
    osd: osd as OsdId,
    totalBytes: 1_000,
    usedBytes: 900,
    metadataBytes: 10,
    pgs: 1,
    commitLatencyMs: 0.5,
    applyLatencyMs: 0.5,
    slowOps: 0,
    silentPeers: [],
    checksumErrors: 0,
    repairedBlocks: 0,
  },
  pgs: [
    {
      pgId: pgId as PgId,
      states: ['active', 'clean'],
      reportedEpoch: 2 as Epoch,
      reportedSequence: 1,
      version: "2'7",
      up: [osd as OsdId],
      acting: [osd as OsdId],
      actingPrimary: osd as OsdId,
      objects: 7,
      bytes: 700,
      logEntries: 7,
      degradedCopies: 0,
      misplacedCopies: 0,
      unfoundObjects: 0,
      lastEpochClean: 2 as Epoch,
      readOps: 0,
      writeOps: 0,
      readBytes: 0,
      writeBytes: 0,
      recoveredObjects: 0,
      recoveredBytes: 0,
      lastScrubMs: 1_700_000_000_000,
      lastDeepScrubMs: 1_600_000_000_000,
      scrubErrors: 3,
    },
  ],
})

describe('monitors over gRPC', () => {
  it('carry commands, errors, boots, statistics, past maps and admin calls', async () => {
    const created = await client.command({ prefix: 'osd pool create', pool: 'p', pg_num: 1, size: 1 })
    expect(created).toMatchObject({ status: "pool 'p' created", data: { id: 1, pgNum: 1 } })
    await expect(client.command({ prefix: 'osd pool get', pool: 'q' })).rejects.toMatchObject({
      code: 'ENOENT',
      hint: 'shoal pool ls (there are: p)',
      outcome: 'not-applied',
    })
    await client.boot(bootOf(0))
    const map = await client.waitForEpoch(3 as Epoch, 5_000)
    expect(map.osds.get(0 as OsdId)).toMatchObject({ up: true, weight: 0x10000, deviceClass: 'ssd' })
    expect((await client.osdMapAt(2 as Epoch)).osds.size).toBe(0)
    await expect(client.osdMapAt(99 as Epoch)).rejects.toMatchObject({ code: 'ENOENT' })
    client.reportStats(statsOf(0, '1.0'))
    await expect
      .poll(async () => (await client.command({ prefix: 'status' })).data, { timeout: 5_000 })
      .toMatchObject({ pgMap: { pgs: 1, objects: 7, states: [{ state: 'active+clean', count: 1 }], usedBytes: 900 } })
    const health = await client.command({ prefix: 'health' })
    expect(JSON.stringify(health.data)).toContain('OSD_BACKFILLFULL')
    for (const daemon of daemons) {
      expect(await callAdmin(env, daemon.adminAddress, 'perf')).toMatchObject({
        consensus: { role: expect.any(String) },
      })
      expect(await callAdmin(env, daemon.adminAddress, 'ops')).toMatchObject({ inFlight: [] })
    }
  })

  it('elect another leader when theirs stops, and the client follows', async () => {
    const leader = daemons.find((daemon) => daemon.isLeader) as MonitorDaemon
    await leader.stop()
    await client.command({ prefix: 'osd set', key: 'noout' })
    await client.waitForEpoch(4 as Epoch, 5_000)
    expect(client.osdMap?.flags.has('noout')).toBe(true)
  })
})
