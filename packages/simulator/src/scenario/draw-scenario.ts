/**
 * From a seed to a scenario: every seed draws its own mix of topology, settings, load and faults, and leaves most kinds of
 * faults out, so that what is left comes often enough to meet itself (swarm testing).
 */
import { ClusterError, Prng } from '@shoal/base'
import { type Fault, type FaultFamily, pick } from '../faults/fault.ts'
import { allFaults } from '../faults/fault-table.ts'
import { workloadNames } from '../workload-table.ts'
import { compressionSettings } from './compression-settings.ts'
import {
  domainsOf,
  type FaultEvent,
  type OsdPlace,
  type PoolPlan,
  type Range,
  type Scenario,
  type WorkloadPlan,
} from './scenario.ts'

const mebibyte = 1024 * 1024

interface Mix {
  /** Left out: any. */
  readonly families?: readonly FaultFamily[]
  /** Left out: any. */
  readonly workloads?: readonly string[]
  readonly mode?: Scenario['mode']
}

const scenarioMixes: Readonly<Record<string, Mix>> = {
  default: {},
  calm: { families: [] },
  network: { families: ['network', 'process'] },
  disks: { families: ['disk', 'power'] },
  power: { families: ['power', 'process'] },
  clocks: { families: ['clock', 'network', 'process'] },
  monitors: { families: ['monitors', 'network', 'power', 'process'] },
  operators: { families: ['operator', 'monitors'] },
  images: { workloads: ['image-family'] },
  block: { workloads: ['block-device', 'shared-image', 'image-family'] },
  mirroring: { workloads: ['mirrored-images'] },
  full: { workloads: ['quotas', 'full-disks'] },
  snapshots: { workloads: ['snapshots', 'pool-snapshots'] },
  beyond: { mode: 'beyond' },
}

export const scenarioNames: readonly string[] = Object.keys(scenarioMixes)

export interface DrawOptions {
  readonly name?: string
  readonly virtualSeconds?: number
}

export function drawScenario(seed: number, options: DrawOptions = {}): Scenario {
  const name = options.name ?? 'default'
  const mix = scenarioMixes[name]
  if (mix === undefined) {
    throw new ClusterError('EINVAL', `there is no scenario '${name}'`, { hint: scenarioNames.join(', ') })
  }
  const random = new Prng([seed, 0x5ce4a510, name.length])
  const mode = mix.mode ?? 'within'
  const osds = drawOsds(random)
  const pools = drawPools(random, osds, mix)
  const plan: Omit<Scenario, 'faults'> = {
    version: 1,
    seed,
    name,
    mode,
    durationMs: (options.virtualSeconds ?? pick(random, [60, 120, 240])) * 1_000,
    monitors: pick(random, [3, 3, 3, 3, 5, 5, 4, 7]),
    ...osds,
    osds: drawEncryption(seed, osds.osds),
    pools: drawCompression(seed, drawCodes(seed, pools, osds)),
    workloads: pools.map(({ workload }) => workload),
    pauseFactor: pick(random, [1, 3, 10, 10]),
    ...drawRest(random),
    network: {
      delayMs: pick<Range>(random, [
        { min: 0.05, max: 0.5 },
        { min: 0.1, max: 3 },
        { min: 0.5, max: 20 },
      ]),
      chunkBytesMax: pick(random, [64 * 1024, 64 * 1024, 1_500, 8 * 1024]),
    },
    ioDelayMs: pick<Range>(random, [
      { min: 0.05, max: 0.3 },
      { min: 0.1, max: 3 },
      { min: 1, max: 15 },
    ]),
    store: {
      sizeBytes: pick(random, [48, 64, 128]) * mebibyte,
      journalBytes: pick(random, [2, 4, 8]) * mebibyte,
      mount: drawMount(random),
    },
    osdSettings: { ...drawOsdSettings(random), ...drawScrubSettings(seed, name) },
    monitorSettings: drawMonitorSettings(random),
  }
  return { ...plan, faults: drawFaults(random, plan, mix) }
}

function drawOsds(random: Prng): Pick<Scenario, 'osds' | 'failureDomain'> {
  const count = pick(random, [3, 4, 4, 5, 6, 6, 6, 8, 10, 12, 20])
  const perHost = count >= 6 ? 1 + random.below(2) : 1
  const hosts = Math.ceil(count / perHost)
  const racks = Math.min(hosts, 3 + random.below(2))
  const osds: OsdPlace[] = Array.from({ length: count }, (_, id) => {
    const host = id % hosts
    return { id, host: `host-${host}`, rack: `rack-${host % racks}` }
  })
  const domains: Scenario['failureDomain'][] = ['osd', 'host', 'host']
  if (racks >= 3 && count >= 6) domains.push('rack')
  return { osds, failureDomain: pick(random, domains) }
}

function drawPools(
  random: Prng,
  { osds, failureDomain }: Pick<Scenario, 'osds' | 'failureDomain'>,
  mix: Mix,
): readonly { readonly pool: PoolPlan; readonly workload: WorkloadPlan }[] {
  const domains = domainsOf({ osds, failureDomain })
  const names = mix.workloads ?? workloadNames
  const count = 1 + random.below(Math.min(3, names.length))
  const left = [...names]
  return Array.from({ length: count }, () => {
    const workload = left.splice(random.below(left.length), 1)[0] as string
    const size = domains >= 4 && random.below(6) === 0 ? 4 : 3
    const minSize = size === 3 ? 2 : 2 + random.below(2)
    return {
      pool: { name: `pool-${workload}`, pgNum: pick(random, [1, 4, 8, 8, 16]), size, minSize },
      workload: { workload, pool: `pool-${workload}`, clients: 1 + random.below(3) },
    }
  })
}

/** In every third cluster about half of the stores. A random sequence of its own, as for compression. */
function drawEncryption(seed: number, osds: readonly OsdPlace[]): readonly OsdPlace[] {
  const random = new Prng([seed, 0x5ea1ed, osds.length])
  if (random.below(3) > 0) return osds
  return osds.map((osd) => (random.below(2) === 0 ? { ...osd, encrypted: true } : osd))
}

/** A random sequence of its own: without compression, a seed draws what it drew before there was any. */
function drawCompression(seed: number, pools: readonly PoolPlan[]): readonly PoolPlan[] {
  const random = new Prng([seed, 0xc0e55ed, pools.length])
  return pools.map((pool) => (random.below(3) === 0 ? { ...pool, compression: compressionSettings(random) } : pool))
}

/** Of a random of its own, so that seeds without a code stay what they were. */
function drawCodes(
  seed: number,
  pools: readonly { readonly pool: PoolPlan; readonly workload: WorkloadPlan }[],
  places: Pick<Scenario, 'osds' | 'failureDomain'>,
): readonly PoolPlan[] {
  const random = new Prng([seed, 0xec, 0])
  const possible = codes.filter(([k, m]) => k + m <= domainsOf(places))
  return pools.map(({ pool, workload }) => {
    if (random.below(3) !== 0 || !codedWorkloads.has(workload.workload)) return pool
    const [k, m] = pick(random, possible)
    const stripeUnit = pick(random, ['4K', '4K', '8K', '64K'])
    return { ...pool, size: k + m, minSize: k + 1, erasure: { k, m, stripeUnit } }
  })
}

const codes: readonly (readonly [number, number])[] = [
  [2, 1],
  [2, 2],
  [3, 1],
  [3, 2],
  [4, 2],
]

/** Those that can do without omap, and make no pools themselves. */
const codedWorkloads: ReadonlySet<string> = new Set([
  'plain',
  'registers',
  'counters',
  'extents',
  'listing',
  'locks',
  'quotas',
  'snapshots',
  'pool-snapshots',
])

/** Long enough, now and then, for promises between OSDs to run out. */
function drawRest(random: Prng): Pick<Scenario, 'rest'> {
  return pick<Pick<Scenario, 'rest'>>(random, [{}, {}, {}, { rest: { everyMs: 40_000, busyMs: 10_000 } }])
}

function drawMount(random: Prng): Scenario['store']['mount'] {
  return {
    dataCacheBytes: pick(random, [64 * 1024, mebibyte, 16 * mebibyte]),
    metaCacheBytes: pick(random, [256 * 1024, mebibyte, 16 * mebibyte]),
    pendingBytesMax: pick(random, [mebibyte, 8 * mebibyte, 32 * mebibyte]),
    dirtyBytesMax: pick(random, [mebibyte, 8 * mebibyte, 36 * mebibyte]),
    largeWriteBytes: pick(random, [8 * 1024, 64 * 1024]),
  }
}

function drawOsdSettings(random: Prng): Scenario['osdSettings'] {
  const interval = pick(random, [0.3, 0.5, 0.5, 1])
  const lease = interval * pick(random, [3, 3, 4, 6])
  return {
    osd_heartbeat_interval: interval,
    osd_heartbeat_idle_interval: pick(random, [0, 1.5, 1.5]),
    osd_heartbeat_grace: Math.max(2, lease) * pick(random, [1.5, 2.5]),
    osd_read_lease: lease,
    osd_heartbeat_min_peers: pick(random, [2, 10]),
    osd_client_message_cap: pick(random, [2, 32, 1024]),
    osd_max_backfills: pick(random, [1, 3]),
    osd_recovery_max_active: pick(random, [1, 4]),
    osd_map_keep: pick(random, [20, 500]),
    osd_mon_report_interval: pick(random, [1, 3]),
    osd_max_markdown_count: pick(random, [2, 5, 50]),
    osd_mclock_profile: pick(random, ['high_client_ops', 'balanced', 'high_recovery_ops']),
    osd_mclock_max_sequential_bandwidth: pick(random, [4, 32, 256]) * 1024 * 1024,
  }
}

/** Of a generator of its own: scenarios were drawn before there was scrub. A calm cluster is left alone. */
function drawScrubSettings(seed: number, name: string): Scenario['osdSettings'] {
  if (name === 'calm') return {}
  const random = new Prng([seed, 0x5c2b, 0])
  return {
    osd_scrub_min_interval: pick(random, [15, 40, 86_400]),
    osd_deep_scrub_interval: pick(random, [40, 100, 604_800]),
    osd_scrub_chunk_max: pick(random, [2, 5, 25]),
    osd_scrub_chunk_min: 1,
    osd_scrub_chunk_bytes: pick(random, [64 * 1024, 8 * 1024 * 1024]),
    osd_scrub_sleep: pick(random, [0.01, 0.1, 1]),
    osd_max_scrubs: pick(random, [1, 1, 3]),
  }
}

function drawMonitorSettings(random: Prng): Scenario['monitorSettings'] {
  return {
    osd_heartbeat_grace: pick(random, [2, 4, 4, 8]),
    mon_osd_min_down_reporters: pick(random, [1, 2, 2]),
    mon_osd_down_out_interval: pick(random, [10, 30, 600]),
    mon_min_osdmap_epochs: pick(random, [10, 50, 500]),
    mon_lease: pick(random, [3, 5]),
    mon_osd_report_timeout: pick(random, [120, 180]),
    // As often as the cluster is clean in between: there is little time.
    balancer_sleep_interval: 5,
  }
}

function drawFaults(random: Prng, plan: Omit<Scenario, 'faults'>, mix: Mix): readonly FaultEvent[] {
  const possible = allFaults.filter((fault) => mix.families?.includes(fault.family) ?? true)
  const chosen = possible.filter(() => random.below(3) === 0)
  if (chosen.length === 0 && possible.length > 0) chosen.push(pick(random, possible))
  if (chosen.length === 0) return []
  const everyMs = 1_000 * pick(random, [2, 5, 10, 20])
  const events: FaultEvent[] = []
  for (let atMs = 0; ; ) {
    atMs += 2 * everyMs * random.fraction()
    if (atMs >= plan.durationMs) return events
    const fault = drawFault(random, chosen)
    const params = fault.draw(random, plan)
    const { durationMs } = fault
    const lasts =
      durationMs === undefined
        ? {}
        : { durationMs: Math.round(durationMs.min * (durationMs.max / durationMs.min) ** random.fraction()) }
    if (params !== undefined) events.push({ atMs: Math.round(atMs), kind: fault.kind, ...lasts, params })
  }
}

function drawFault(random: Prng, from: readonly Fault[]): Fault {
  let left = random.fraction() * from.reduce((sum, fault) => sum + fault.weight, 0)
  for (const fault of from) {
    left -= fault.weight
    if (left <= 0) return fault
  }
  return from.at(-1) as Fault
}
