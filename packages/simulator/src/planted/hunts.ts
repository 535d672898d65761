/** Where a planted bug is looked for: small clusters with the load and the faults that its mechanism lives by. */
import { must, Prng } from '@shoal/base'
import { findFault } from '../faults/fault-table.ts'
import { drawScenario } from '../scenario/draw-scenario.ts'
import type { FaultEvent, PoolPlan, Scenario } from '../scenario/scenario.ts'
import { patterns } from './hunt-patterns.ts'
import {
  compression,
  type Hunt,
  mebibyte,
  monitorHunt,
  narrowWindow,
  osdSettings,
  patientStarts,
  quickCheckpoints,
  quickDown,
  quickOut,
  shortLogs,
  slowDisk,
  small,
  smallMemory,
  smallScans,
} from './hunt-settings.ts'
import { pgNumHunts } from './pg-num-hunts.ts'
import { shardHunts } from './shard-hunts.ts'

export const hunts: Readonly<Record<string, Hunt>> = {
  ...shardHunts,
  ...pgNumHunts,
  /** Copiers of images die all the time by themselves. */
  mirroring: {
    ...small,
    virtualSeconds: 120,
    workloads: ['mirrored-images'],
    faults: ['crash'],
    everySeconds: 20,
    osds: 3,
  },
  /** Copies lie unevenly, and hardly anything happens: the balancer works. */
  uneven: {
    ...small,
    virtualSeconds: 60,
    workloads: ['registers'],
    faults: ['osd-flag'],
    everySeconds: 30,
    osds: 8,
    perHost: 2,
    pgNum: 16,
    monitorSettings: { balancer_sleep_interval: 3 },
  },
  /** Others are made primary, by hand and by the balancer, and those who were leave their sets. */
  primaries: {
    ...small,
    virtualSeconds: 60,
    workloads: ['registers', 'counters'],
    faults: ['upmap-primary', 'upmap-primary', 'osd-primary-affinity', 'osd-out', 'upmap', 'crash'],
    everySeconds: 3,
    lastsSecondsMax: 15,
    osds: 6,
    pgNum: 8,
    osdSettings,
    monitorSettings: { osd_heartbeat_grace: 2, mon_osd_down_out_interval: 600, balancer_sleep_interval: 2 },
  },
  power: {
    ...small,
    workloads: ['registers', 'counters'],
    faults: ['power-cut-all', 'power-cut'],
    ioDelayMs: slowDisk,
  },
  'power-large': { ...small, workloads: ['extents'], faults: ['power-cut-all'], store: { mount: smallMemory } },
  'slow-replicas': {
    ...small,
    virtualSeconds: 40,
    workloads: ['registers', 'counters'],
    patterns: ['slowThenDark'],
    everySeconds: 5,
    pauseFactor: 1,
    ...quickDown,
  },
  restarts: {
    ...small,
    workloads: ['attributes', 'registers'],
    faults: ['crash', 'crash', 'power-cut-all'],
    osds: 3,
    ioDelayMs: slowDisk,
    store: { journalBytes: 2 * mebibyte },
  },
  rot: {
    ...small,
    workloads: ['extents', 'registers'],
    faults: ['bit-rot', 'bit-rot', 'bit-rot', 'crash'],
    everySeconds: 0.5,
    osds: 3,
    pgNum: 1,
    store: { mount: quickCheckpoints },
  },
  'rot-compressed': {
    ...small,
    workloads: ['extents', 'registers'],
    faults: ['bit-rot', 'bit-rot', 'bit-rot', 'crash'],
    everySeconds: 0.5,
    osds: 3,
    pgNum: 1,
    compression,
    store: { mount: quickCheckpoints },
  },
  compressed: {
    ...small,
    workloads: ['extents'],
    faults: ['crash', 'power-cut-all'],
    osds: 3,
    compression,
    store: { mount: smallMemory, journalBytes: 2 * mebibyte },
  },
  encrypted: {
    ...small,
    workloads: ['attributes', 'extents'],
    faults: ['crash', 'crash', 'power-cut-all'],
    osds: 3,
    encrypted: true,
    store: {
      mount: { ...smallMemory, dirtyBytesMax: mebibyte, metaCacheBytes: 64 * 1024 },
      journalBytes: 2 * mebibyte,
    },
  },
  scrubs: {
    ...small,
    workloads: ['extents', 'compounds'],
    faults: ['bit-rot', 'metadata-rot', 'scrub', 'scrub', 'crash'],
    osds: 3,
    pgNum: 2,
    pauseFactor: 3,
    store: { mount: quickCheckpoints },
  },
  'scrubs-at-rest': {
    ...small,
    workloads: ['listing'],
    faults: ['bit-rot'],
    everySeconds: 0.25,
    osds: 3,
    pgNum: 2,
    pauseFactor: 3,
    store: { mount: quickCheckpoints },
  },
  'scrubs-compressed': {
    ...small,
    workloads: ['extents', 'snapshots'],
    faults: ['bit-rot', 'metadata-rot', 'scrub', 'scrub', 'pool-compression'],
    osds: 3,
    pgNum: 2,
    pauseFactor: 3,
    compression,
    store: { mount: quickCheckpoints },
  },
  'scrubs-beside-writes': {
    ...small,
    workloads: ['registers', 'counters'],
    clients: 6,
    faults: ['scrub'],
    everySeconds: 0.5,
    osds: 3,
    pgNum: 1,
    pauseFactor: 0.3,
    ioDelayMs: slowDisk,
  },
  failover: {
    ...small,
    workloads: ['compounds', 'counters'],
    faults: ['crash', 'outage', 'pause', 'power-cut', 'partition'],
    ...quickDown,
  },
  lonely: {
    ...small,
    virtualSeconds: 40,
    workloads: ['registers', 'counters'],
    patterns: ['lonelyThenDead'],
    everySeconds: 4,
    ...quickDown,
  },
  divergence: {
    ...small,
    virtualSeconds: 40,
    workloads: ['hot-cold'],
    clients: 8,
    patterns: ['lonelyAndForgotten'],
    everySeconds: 5,
    ...quickDown,
  },
  locks: { ...small, workloads: ['locks'], clients: 6, faults: ['pause', 'crash'], pauseFactor: 0.3 },
  watches: {
    ...small,
    workloads: ['watches'],
    clients: 6,
    faults: ['crash', 'pause', 'outage', 'partition'],
    ...quickDown,
  },
  'slow-share': {
    ...small,
    workloads: ['counters', 'hot-cold'],
    clients: 6,
    faults: ['crash', 'outage'],
    pauseFactor: 0.3,
    ...quickDown,
    osdSettings: {
      ...osdSettings,
      osd_mclock_profile: 'high_recovery_ops',
      osd_mclock_max_sequential_bandwidth: 4 * mebibyte,
      osd_mclock_cost_per_op: 64 * 1024,
    },
    tuning: narrowWindow,
  },
  fences: {
    ...small,
    virtualSeconds: 60,
    workloads: ['locks'],
    clients: 10,
    faults: ['delays', 'pause'],
    pauseFactor: 0.3,
  },
  pieces: {
    ...small,
    workloads: ['counters'],
    clients: 12,
    patterns: ['flap'],
    // One interval ends before the placement group serves in it, and the next one begins.
    everySeconds: 0.5,
    pgNum: 1,
    pauseFactor: 1,
    network: { delayMs: { min: 1, max: 60 }, chunkBytesMax: 300 },
    ...quickDown,
  },
  resends: {
    ...small,
    workloads: ['counters', 'counters'],
    faults: ['crash'],
    patterns: ['lostAnswers', 'lostAnswers', 'lostAnswers'],
    everySeconds: 0.5,
    pgNum: 2,
    ...quickDown,
  },
  'short-logs': {
    ...small,
    workloads: ['counters'],
    clients: 6,
    patterns: ['deafClient'],
    everySeconds: 1,
    pgNum: 1,
    ...quickDown,
    osdSettings: { ...osdSettings, ...shortLogs },
  },
  timeouts: {
    ...small,
    virtualSeconds: 40,
    workloads: ['counters', 'registers'],
    faults: ['pause'],
    lastsSecondsMax: 12,
    osdSettings: { osd_heartbeat_interval: 0.5, osd_heartbeat_grace: 30 },
    monitorSettings: { osd_heartbeat_grace: 30 },
  },
  stale: {
    ...small,
    virtualSeconds: 40,
    workloads: ['registers'],
    patterns: ['stalePrimaryAndClients'],
    everySeconds: 6,
    ...quickDown,
  },
  leases: {
    ...small,
    virtualSeconds: 40,
    workloads: ['registers'],
    patterns: ['stalePrimaryAndClients'],
    everySeconds: 6,
    ...quickDown,
    osdSettings: { ...osdSettings, osd_read_lease: 6 },
  },
  leapfrog: {
    ...small,
    virtualSeconds: 50,
    workloads: ['registers', 'listing'],
    patterns: ['leapfrog'],
    everySeconds: 8,
    osds: 3,
    size: 2,
    minSize: 1,
    ...quickDown,
  },
  'last-one': {
    ...small,
    virtualSeconds: 50,
    workloads: ['registers', 'counters'],
    patterns: ['lastOneStanding'],
    everySeconds: 8,
    osds: 3,
    ...quickDown,
  },
  backfills: {
    ...small,
    virtualSeconds: 60,
    workloads: ['hot-cold', 'listing'],
    faults: ['osd-out', 'osd-reweight', 'outage', 'outage', 'crash', 'crash', 'crush-reweight'],
    lastsSecondsMax: 10,
    osds: 5,
    pgNum: 2,
    ...quickOut,
    osdSettings: { ...osdSettings, ...shortLogs },
    tuning: smallScans,
  },
  outages: {
    ...small,
    virtualSeconds: 40,
    workloads: ['compounds', 'listing'],
    faults: ['crash'],
    patterns: ['returnAndCrash', 'returnAndCrash'],
    everySeconds: 5,
    ...quickDown,
  },
  rivals: {
    ...monitorHunt,
    virtualSeconds: 60,
    patterns: ['rivalMonitors'],
    everySeconds: 5,
    tuning: patientStarts,
  },
  'monitor-power': { ...monitorHunt, faults: ['power-cut-all'], ioDelayMs: slowDisk },
  'lonely-monitors': {
    ...monitorHunt,
    virtualSeconds: 60,
    faults: ['crash'],
    patterns: ['lonelyMonitor', 'lonelyMonitor', 'lonelyMonitor'],
    everySeconds: 3,
  },
  snapshots: {
    ...small,
    virtualSeconds: 50,
    workloads: ['snapshots', 'pool-snapshots'],
    faults: ['crash', 'outage'],
    everySeconds: 4,
    pauseFactor: 1,
    ...quickDown,
  },
  'snapshot-backfills': {
    ...small,
    virtualSeconds: 60,
    workloads: ['snapshots'],
    faults: ['osd-out', 'osd-reweight', 'outage', 'outage', 'crash', 'crush-reweight'],
    lastsSecondsMax: 10,
    osds: 5,
    pgNum: 2,
    pauseFactor: 1,
    ...quickOut,
    osdSettings: { ...osdSettings, ...shortLogs },
    tuning: smallScans,
  },
  configuration: {
    ...small,
    virtualSeconds: 40,
    workloads: ['registers'],
    clients: 1,
    faults: ['config-set', 'config-set', 'config-set', 'config-set', 'config-back', 'crash', 'restart', 'partition'],
    everySeconds: 1,
  },
  quotas: {
    ...small,
    virtualSeconds: 40,
    workloads: ['quotas'],
    clients: 4,
    faults: ['crash', 'outage', 'osd-out'],
    everySeconds: 3,
    pgNum: 2,
    pauseFactor: 1,
    ...quickDown,
  },
  'full-disks': {
    ...small,
    workloads: ['full-disks'],
    clients: 4,
    faults: ['crash', 'outage'],
    osds: 3,
    pauseFactor: 1,
    store: { sizeBytes: 24 * mebibyte, journalBytes: 2 * mebibyte },
    ...quickDown,
  },
  drains: {
    ...small,
    virtualSeconds: 60,
    workloads: ['registers', 'extents'],
    faults: ['osd-drain'],
    everySeconds: 8,
    osds: 7,
    pgNum: 8,
    ...quickDown,
  },
  elections: {
    ...small,
    virtualSeconds: 60,
    workloads: ['registers'],
    clients: 1,
    faults: ['osd-flag', 'osd-flag', 'crash', 'restart', 'power-cut-all', 'outage'],
    everySeconds: 3,
    lastsSecondsMax: 20,
  },
  images: { ...small, virtualSeconds: 50, workloads: ['image-family'], faults: ['crash', 'client-crash'], osds: 3 },
  'image-lock': {
    ...small,
    virtualSeconds: 40,
    workloads: ['shared-image'],
    clients: 3,
    faults: ['client-crash', 'delays', 'crash'],
    patterns: ['lostOwner', 'lostOwner', 'lostOwner'],
    everySeconds: 6,
    osds: 3,
    pgNum: 4,
    pauseFactor: 0.5,
    ...quickDown,
  },
  block: { ...small, workloads: ['block-device'], faults: ['crash', 'client-crash', 'delays'], osds: 3 },
}

function poolKindOf({ size, minSize, code }: Hunt): Omit<PoolPlan, 'name' | 'pgNum'> {
  if (code === undefined) return { size: size ?? 3, minSize: minSize ?? 2 }
  const { k, m } = code
  return { size: k + m, minSize: minSize ?? k + 1, erasure: { k, m, stripeUnit: '4K' } }
}

export function huntScenario(seed: number, name: string): Scenario {
  const hunt = must(hunts[name], `a hunt named ${name}`)
  const random = new Prng([seed, 0x401, name.length])
  const base = drawScenario(seed, { name: 'calm', virtualSeconds: hunt.virtualSeconds })
  const osds = Array.from({ length: hunt.osds }, (_, id) => ({
    id,
    host: `host-${Math.floor(id / (hunt.perHost ?? 1))}`,
    rack: `rack-${id % 3}`,
    ...(hunt.encrypted === true ? { encrypted: true } : {}),
  }))
  const plan = {
    ...base,
    name: `planted-${name}`,
    osds,
    failureDomain: 'host' as const,
    monitors: hunt.monitors ?? 3,
    pools: hunt.workloads.map((workload, i) => ({
      name: `pool-${i}-${workload}`,
      pgNum: hunt.pgNum ?? 4,
      ...poolKindOf(hunt),
      ...(hunt.compression === undefined ? {} : { compression: hunt.compression }),
    })),
    workloads: hunt.workloads.map((workload, i) => ({
      workload,
      pool: `pool-${i}-${workload}`,
      clients: hunt.clients ?? 3,
    })),
    ioDelayMs: hunt.ioDelayMs ?? base.ioDelayMs,
    network: hunt.network ?? base.network,
    pauseFactor: hunt.pauseFactor ?? base.pauseFactor,
    store: { ...base.store, ...hunt.store },
    osdSettings: { ...base.osdSettings, osd_client_message_cap: 1024, ...hunt.osdSettings },
    monitorSettings: { ...base.monitorSettings, ...hunt.monitorSettings },
  }
  return { ...plan, faults: drawHuntFaults(random, plan, hunt) }
}

function drawHuntFaults(random: Prng, plan: Omit<Scenario, 'faults'>, hunt: Hunt): readonly FaultEvent[] {
  const { faults = [], patterns: patternNames = [] } = hunt
  const events: FaultEvent[] = []
  for (let beginMs = 0; ; ) {
    beginMs += 2_000 * hunt.everySeconds * random.fraction()
    if (beginMs >= plan.durationMs) return events.sort((a, b) => a.atMs - b.atMs)
    const choice = random.below(faults.length + patternNames.length)
    const pattern = patternNames[choice - faults.length]
    const drawn =
      pattern === undefined
        ? drawFault(random, plan, must(faults[choice], 'a kind of fault'), hunt.lastsSecondsMax)
        : patterns[pattern](random, plan)
    for (const event of drawn) events.push({ ...event, atMs: Math.round(beginMs + event.atMs) })
  }
}

function drawFault(
  random: Prng,
  plan: Omit<Scenario, 'faults'>,
  kind: string,
  lastsSecondsMax: number,
): readonly FaultEvent[] {
  const fault = must(findFault(kind), `the fault ${kind}`)
  const params = fault.draw(random, plan)
  if (params === undefined) return []
  const { durationMs } = fault
  if (durationMs === undefined) return [{ atMs: 0, kind, params }]
  const max = Math.min(durationMs.max, lastsSecondsMax * 1_000)
  const lasts = Math.round(durationMs.min * Math.max(1, max / durationMs.min) ** random.fraction())
  return [{ atMs: 0, kind, durationMs: lasts, params }]
}
