import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OsdId } from '@shoal/base'
import { ClusterClient } from '@shoal/client'
import { MemoryAdminTransport } from '@shoal/monitor-client'
import { createRealEnv } from '@shoal/runtime'
import { fileObjectStores, OsdDaemon } from '@shoal/osd'
import { FakeMonitors } from './support/fake-monitors.ts'

const dir = mkdtempSync(join(tmpdir(), 'osd-scratch-'))
const env = (name: string) => createRealEnv({ name, logLevel: process.env['LEVEL'] ?? 'warn' })
const monitors = new FakeMonitors(env('mon'), 3)
const admin = new MemoryAdminTransport()
const start = (id: number) =>
  OsdDaemon.start(env(`osd.${id}`), { id: id as OsdId, dataDirectory: join(dir, `osd.${id}`), bindHost: '127.0.0.1', sizeBytes: 2 ** 30, crushLocation: { root: 'default', host: `host-${id}` } }, { monitor: monitors.client(env(`m${id}`)), stores: fileObjectStores, admin })
const osds: OsdDaemon[] = []
for (const id of [0, 1, 2]) osds.push(await start(id))
const until = async (what: string, f: () => boolean, ms = 20000) => {
  const t = performance.now()
  while (!f()) {
    if (performance.now() - t > ms) { console.log('NOT', what, [...monitors.pgStats.values()].slice(0, 4).map((s) => `${s.pgId} ${s.states.join('+')} ${s.acting}`)); process.exit(1) }
    await new Promise((r) => setTimeout(r, 10))
  }
  console.log(what, (performance.now() - t).toFixed(0), 'ms epoch', monitors.map.epoch)
}
await until('all up', () => osds.every((o) => o.isUp))
const pool = monitors.createPool('p', 16, 3, 2)
await until('clean', () => monitors.allPgs(pool, 'active', 'clean'))
const client = await ClusterClient.connect(env('client'), { monitor: monitors.client(env('c')) })
const p = client.pool('p')
const data = new Uint8Array(8192).fill(7)
const bench = async (name: string, n: number, depth: number, f: (i: number) => Promise<unknown>) => {
  const t = performance.now()
  let i = 0
  await Promise.all(Array.from({ length: depth }, async () => { while (i < n) await f(i++) }))
  const s = (performance.now() - t) / 1000
  console.log(name, (n / s).toFixed(0), '/s', ((s * 1000 * depth) / n).toFixed(2), 'ms')
}
await bench('write depth 64', 20000, 64, (i) => p.execute(`o${i % 2000}`, [{ kind: 'write', offset: 0, data }]))
await bench('read depth 64', 40000, 64, (i) => p.execute(`o${i % 2000}`, [{ kind: 'read', offset: 0, length: 8192 }]))
await bench('write depth 1', 500, 1, (i) => p.execute(`o${i}`, [{ kind: 'write', offset: 0, data }]))
await bench('read depth 1', 2000, 1, (i) => p.execute(`o${i % 2000}`, [{ kind: 'read', offset: 0, length: 8192 }]))
if (process.env['SHORT']) { await client.close(); for (const o of osds) await o.stop(); rmSync(dir, { recursive: true }); process.exit(0) }
console.log('stop osd.1'); let t0 = performance.now()
await osds[1]!.stop(); console.log('stopped', performance.now() - t0)
await until('undersized', () => monitors.allPgs(pool, 'active', 'undersized', 'degraded'))
await bench('write', 200, 16, (i) => p.execute(`o${i}`, [{ kind: 'write', offset: 0, data: new Uint8Array(8192).fill(9) }]))
osds[1] = await start(1)
await until('up', () => osds[1]!.isUp)
await until('clean', () => monitors.allPgs(pool, 'active', 'clean'))
console.log(JSON.stringify((await admin.call(osds[1]!.listening.admin, 'perf') as any).counters), JSON.stringify((await admin.call(osds[0]!.listening.admin, 'perf') as any).counters))
console.log('lost directory'); await osds[2]!.stop(); rmSync(join(dir, 'osd.2'), { recursive: true }); monitors.destroy(2 as OsdId)
osds[2] = await start(2)
await until('up', () => osds[2]!.isUp)
await until('clean', () => monitors.allPgs(pool, 'active', 'clean'), 30000)
console.log(JSON.stringify((await admin.call(osds[2]!.listening.admin, 'perf') as any).counters))
await client.close(); for (const o of osds) await o.stop(); rmSync(dir, { recursive: true }); process.exit(0)
