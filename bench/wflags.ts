import { execFileSync, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { Prng } from '../packages/base/src/index.ts'
import { argument, cpuSeconds, LocalCluster, pause, round } from './support/local-cluster.ts'
const depth = Number(argument('--depth') ?? 64)
const workload = argument('--workload') ?? 'write'
const which = argument('--osd') ?? 'osd.0'
const cluster = LocalCluster.temporary()
try {
  await cluster.start()
  await cluster.shoal('daemon', 'stop', which)
  const child = spawn(process.execPath, [...(argument('--flags') ?? '').split(' ').filter(Boolean), '/work/wt/lead/packages/cli/dist/daemon.js', which, '--data', cluster.directory], { stdio: 'ignore' })
  const t0 = performance.now()
  await cluster.untilHealthy()
  const { monitor, client } = await cluster.connect()
  const pool = client.pool('objects')
  const random = new Prng([1, 2, 3])
  const big = new Uint8Array(4194304).fill(1)
  for (let i = 0; i < 64; i++) await pool.execute(`bench-${i}`, [{ kind: 'write-full', data: big }])
  const data = new Uint8Array(8192).fill(2)
  const rows = (await cluster.daemons())
  const cpu = () => rows.filter((r) => r.kind === 'osd').map((r) => cpuSeconds(r.name === which ? child.pid : r.pid))
  const threads = () => { const pid = child.pid; const m = new Map<string, number[]>(); for (const t of readdirSync(`/proc/${pid}/task`)) { const [head = '', tail = ''] = readFileSync(`/proc/${pid}/task/${t}/stat`, 'utf8').split(') '); const f = tail.split(' '); m.set(t + head.slice(head.indexOf('(')), [Number(f[11]) * 10, Number(f[12]) * 10]) } return m }
  const load = async (seconds: number) => {
    const tb = threads(); const before = cpu(); const own = cpuSeconds(process.pid)
    const s = performance.now(); let n = 0
    const w = async () => { while (performance.now() < s + seconds * 1000) { const offset = random.below(512) * 8192; await pool.execute(`bench-${random.below(64)}`, [workload === 'write' ? { kind: 'write', offset, data } : { kind: 'read', offset, length: 8192 }]); n++ } }
    await Promise.all(Array.from({ length: depth }, w))
    const ta = threads(); const after = cpu(); for (const [k, [u = 0, y = 0]] of ta) { const [u0 = 0, y0 = 0] = tb.get(k) ?? []; if (u - u0 + y - y0 > 40) console.log('  ', k, 'user', ((u - u0) * 1000 / n).toFixed(1), 'sys', ((y - y0) * 1000 / n).toFixed(1), 'us/op') }
    console.log(`ops/s ${Math.round(n / seconds)}; CPU us per op: osds ${after.map((v, i) => round((v - before[i]) / n * 1e6, 0))} client ${round((cpuSeconds(process.pid) - own) / n * 1e6, 0)}`)
  }
  await load(12)
  execFileSync('/tmp/p/freeze', ['on']); await load(4)
  console.log('from', (performance.now() - t0) / 1000)
  await load(6)
  execFileSync('/tmp/p/freeze', ['off'])
  console.log('to', (performance.now() - t0) / 1000)
  await client.close(); await monitor.close()
  child.kill('SIGTERM'); await new Promise((r) => child.on('exit', r))
} finally { await cluster.remove() }
