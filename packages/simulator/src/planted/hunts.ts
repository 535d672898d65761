/** Where a planted bug is looked for: small clusters with the load and the faults that its mechanism lives by. */
import { must, Prng } from '@shoal/base'
import { findFault } from '../faults/fault-table.ts'
import { drawScenario } from '../scenario/draw-scenario.ts'
import type { FaultEvent, Scenario } from '../scenario/scenario.ts'
import type { Edit } from './planted-bug.ts'

export interface Hunt {
  readonly virtualSeconds: number
  readonly workloads: readonly string[]
  /** Kinds, more often drawn when named more often. */
  readonly faults: readonly string[]
  /** Between two faults, in the middle. */
  readonly everySeconds: number
  /** No fault lasts longer. */
  readonly lastsSecondsMax: number
  readonly osds: number
  readonly monitors?: number
  readonly pgNum?: number
  readonly store?: Partial<Scenario['store']>
  readonly osdSettings?: Scenario['osdSettings']
  readonly monitorSettings?: Scenario['monitorSettings']
  /** For what no setting reaches: made with the bug and without it. */
  readonly tuning?: readonly Edit[]
}

/** Logs that are cut soon, so that backfill and forgotten requests are met; and backfill in small steps. */
const shortLogs: Scenario['osdSettings'] = {
  osd_target_pg_log_entries_per_osd: 64,
  osd_min_pg_log_entries: 8,
}
const smallScans: readonly Edit[] = [
  { file: 'placement-group/dist/core.js', find: '    scanObjects: 64,', replace: '    scanObjects: 5,' },
]

const small = { virtualSeconds: 25, everySeconds: 2, lastsSecondsMax: 6, osds: 4 }
const quickDown: Pick<Hunt, 'osdSettings' | 'monitorSettings'> = {
  osdSettings: { osd_heartbeat_interval: 0.3, osd_heartbeat_grace: 2, osd_read_lease: 0.9, osd_max_markdown_count: 50 },
  monitorSettings: { osd_heartbeat_grace: 2, mon_osd_down_out_interval: 10 },
}

export const hunts: Readonly<Record<string, Hunt>> = {
  power: { ...small, workloads: ['registers', 'counters'], faults: ['power-cut-all', 'power-cut'] },
  'power-large': {
    ...small,
    workloads: ['extents'],
    faults: ['power-cut-all'],
    store: { mount: { largeWriteBytes: 8192 } },
  },
  restarts: {
    ...small,
    workloads: ['extents', 'registers'],
    faults: ['crash', 'crash', 'power-cut-all'],
    everySeconds: 1,
    osds: 3,
    store: { journalBytes: 2 * 1024 * 1024 },
  },
  rot: { ...small, workloads: ['extents'], faults: ['bit-rot', 'bit-rot', 'crash'], osds: 3 },
  failover: {
    ...small,
    workloads: ['compounds', 'counters'],
    faults: ['crash', 'outage', 'pause', 'power-cut', 'partition'],
    ...quickDown,
  },
  resends: {
    ...small,
    workloads: ['counters', 'counters'],
    faults: ['reset-connections', 'reset-connections', 'flaky-connections', 'crash', 'pause', 'delays'],
    ...quickDown,
  },
  'short-logs': {
    ...small,
    workloads: ['counters', 'counters'],
    faults: ['reset-connections', 'reset-connections', 'flaky-connections', 'delays', 'crash'],
    everySeconds: 1,
    ...quickDown,
    osdSettings: { ...quickDown.osdSettings, ...shortLogs },
  },
  partitions: {
    ...small,
    workloads: ['registers'],
    faults: ['partition', 'partial-partition', 'cut-from-monitors', 'pause'],
    ...quickDown,
  },
  leases: {
    ...small,
    workloads: ['registers'],
    faults: ['partial-partition', 'partition', 'cut-from-monitors', 'osd-primary-affinity', 'upmap', 'osd-reweight'],
    ...quickDown,
    osdSettings: { ...quickDown.osdSettings, osd_read_lease: 6 },
  },
  moves: {
    ...small,
    virtualSeconds: 60,
    workloads: ['registers', 'listing'],
    faults: ['osd-out', 'osd-reweight', 'upmap', 'crush-reweight', 'outage', 'outage', 'crash', 'power-cut'],
    osds: 6,
    pgNum: 4,
    ...quickDown,
    osdSettings: { ...quickDown.osdSettings, ...shortLogs },
    tuning: smallScans,
  },
  backfills: {
    ...small,
    virtualSeconds: 60,
    workloads: ['hot-cold'],
    faults: ['osd-out', 'osd-reweight', 'outage', 'crush-reweight'],
    osds: 5,
    pgNum: 2,
    ...quickDown,
    osdSettings: { ...quickDown.osdSettings, ...shortLogs },
    tuning: smallScans,
  },
  outages: {
    ...small,
    workloads: ['compounds', 'listing'],
    faults: ['outage', 'outage', 'crash', 'restart'],
    ...quickDown,
  },
  elections: {
    ...small,
    virtualSeconds: 60,
    workloads: ['monitor-set'],
    faults: ['crash', 'crash-loop', 'partition', 'partial-partition', 'power-cut', 'outage'],
    everySeconds: 1,
    osds: 3,
    monitors: 5,
  },
  'monitor-power': {
    ...small,
    workloads: ['monitor-set'],
    faults: ['power-cut-all', 'crash', 'power-cut'],
    osds: 3,
  },
  'monitor-partitions': {
    ...small,
    workloads: ['monitor-set'],
    faults: ['partition', 'partial-partition', 'pause', 'crash'],
    osds: 3,
  },
  block: { ...small, workloads: ['block-device'], faults: ['crash', 'client-crash', 'delays'], osds: 3 },
}

export function huntScenario(seed: number, name: string): Scenario {
  const hunt = must(hunts[name], `a hunt named ${name}`)
  const random = new Prng([seed, 0x401, name.length])
  const base = drawScenario(seed, { name: 'calm', virtualSeconds: hunt.virtualSeconds })
  const osds = Array.from({ length: hunt.osds }, (_, id) => ({ id, host: `host-${id}`, rack: `rack-${id % 3}` }))
  const plan = {
    ...base,
    name: `planted-${name}`,
    osds,
    failureDomain: 'host' as const,
    monitors: hunt.monitors ?? 3,
    pools: hunt.workloads.map((workload, i) => ({
      name: `pool-${i}-${workload}`,
      pgNum: hunt.pgNum ?? 4,
      size: 3,
      minSize: 2,
    })),
    workloads: hunt.workloads.map((workload, i) => ({ workload, pool: `pool-${i}-${workload}`, clients: 3 })),
    store: { ...base.store, ...hunt.store },
    osdSettings: { ...base.osdSettings, osd_client_message_cap: 1024, ...hunt.osdSettings },
    monitorSettings: { ...base.monitorSettings, ...hunt.monitorSettings },
  }
  return { ...plan, faults: drawHuntFaults(random, plan, hunt) }
}

function drawHuntFaults(random: Prng, plan: Omit<Scenario, 'faults'>, hunt: Hunt): readonly FaultEvent[] {
  const events: FaultEvent[] = []
  for (let atMs = 0; ; ) {
    atMs += 2_000 * hunt.everySeconds * random.fraction()
    if (atMs >= plan.durationMs) return events
    const kind = must(hunt.faults[random.below(hunt.faults.length)], 'a kind of fault')
    const fault = must(findFault(kind), `the fault ${kind}`)
    const params = fault.draw(random, plan)
    if (params === undefined) continue
    const { durationMs } = fault
    const max = Math.min(durationMs?.max ?? 0, hunt.lastsSecondsMax * 1_000)
    const lasts =
      durationMs === undefined
        ? {}
        : { durationMs: Math.round(durationMs.min * Math.max(1, max / durationMs.min) ** random.fraction()) }
    events.push({ atMs: Math.round(atMs), kind, ...lasts, params })
  }
}
