import { readdirSync, readFileSync } from 'node:fs'
import { execFileSync, spawn } from 'node:child_process'
import { argument, cpuSeconds, LocalCluster, round } from './support/local-cluster.ts'
import { fill, measure, rows } from './vs-ceph/fio.ts'
import { startShoal } from './vs-ceph/shoal-cluster.ts'
const ending: (() => Promise<void>)[] = []
try {
  const prof = argument('--prof')
  const rival = await startShoal({ osds: 3, osdGib: 12, size: 3, pgNum: 32, imageGib: 1 }, ending, async (cluster) => {
    if (prof === undefined) return
    const row = (await cluster.daemons()).find((r) => r.name === prof)!
    await cluster.shoal('daemon', 'stop', prof)
    const flags = prof.startsWith('nbd') ? ['--max-semi-space-size=8', '--initial-old-space-size=128'] : ['--max-semi-space-size=32', '--max-old-space-size=1536', '--initial-old-space-size=128']
    const child = spawn(process.execPath, [...(argument('--flags') ?? '--cpu-prof --cpu-prof-dir=/tmp/p/prof --cpu-prof-interval 300').split(' '), ...flags, '/work/wt/lead/packages/cli/dist/daemon.js', prof, '--data', cluster.directory, '--keyring', cluster.directory + '/keyring'].filter(Boolean), { stdio: 'inherit' })
    const t0 = performance.now()
    ;(globalThis as any).child = child; (globalThis as any).t0 = t0
    await new Promise((r) => setTimeout(r, 3000))
  })
  await fill(rival, 1)
  const now = () => ((performance.now() - ((globalThis as any).t0 ?? 0)) / 1000).toFixed(2)
  for (const row of rows.filter(({ name }) => name.includes(argument('--rows') ?? ''))) {
    await measure(rival, row, 0, Number(argument('--ramp') ?? 5))
    const { all, osds } = await rival.pids()
    execFileSync('/tmp/p/freeze', ['on'])
    const who = argument('--threads') === 'nbd' ? all.filter((x) => !osds.includes(x)).at(-1)! : osds[1]!
    const threads = () => { const m = new Map<string, number[]>(); for (const t of readdirSync(`/proc/${who}/task`)) { const [head = '', tail = ''] = readFileSync(`/proc/${who}/task/${t}/stat`, 'utf8').split(') '); const f = tail.split(' '); m.set(t + head.slice(head.indexOf('(')), [Number(f[11]) * 10, Number(f[12]) * 10]) } return m }
    const tb = threads()
    const before = all.map(cpuSeconds)
    const from = now()
    const m = await measure(rival, row, 0, Number(argument('--seconds') ?? 6))
    const to = now()
    const n = m.iops * Number(argument('--seconds') ?? 6)
    execFileSync('/tmp/p/freeze', ['off'])
    for (const [k, [u = 0, y = 0]] of threads()) { const [u0 = 0, y0 = 0] = tb.get(k) ?? []; if (u - u0 + y - y0 > 40) console.log('  ', k, 'user', ((u - u0) * 1000 / n).toFixed(1), 'sys', ((y - y0) * 1000 / n).toFixed(1), 'us/op') }
    const after = all.map(cpuSeconds)
    console.log(row.name, JSON.stringify(m)); const d = after.map((v, i) => round((v - before[i]!) / n * 1e6, 0)); console.log('   per op: ', all.map((p, i) => `${osds.includes(p) ? 'osd' : 'other'} ${d[i]}`).join(', '), 'fio', m.cpuUsPerOp - d.reduce((a, b) => a + b, 0), 'from', from, 'to', to)
  }
  const child = (globalThis as any).child
  if (child) { child.kill('SIGTERM'); await new Promise((r) => child.on('exit', r)) }
} finally { for (const end of ending) await end() }
