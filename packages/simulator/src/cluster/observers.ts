/**
 * What is watched while a simulation runs: maps as everybody sees them, consensus from inside, queues and memory against
 * their caps. Watching takes no virtual time, is no event, and changes nothing.
 *
 * Only events change anything: where few run, few looks are needed. While nothing runs a promise can only run out.
 */
import { assert } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import type { MonitorClient } from '@shoal/monitor-client'
import { FailureDomainChecker } from '../checkers/failure-domains.ts'
import { MapEpochChecker } from '../checkers/map-epochs.ts'
import { type RaftEntryObservation, RaftSafetyChecker } from '../checkers/raft-safety.ts'
import { type ResourceCap, ResourceCapChecker } from '../checkers/resource-caps.ts'
import { ServingPrimariesChecker, type ServingPrimary } from '../checkers/serving-primaries.ts'
import { UpmapPrimaryChecker } from '../checkers/upmap-primaries.ts'
import type { Violation } from '../history.ts'
import type { Scenario } from '../scenario/scenario.ts'
import type { DaemonNode } from './daemon-node.ts'
import type { MonitorNode, OsdNode } from './nodes.ts'
import type { SimCluster } from './sim-cluster.ts'

/** A look costs as much as some events: it comes when so much time has passed and so many events have run. */
const raftEvery = { ms: 250, events: 32 }
const capsEvery = { ms: 2_000, events: 64 }
const primariesEvery = { ms: 100, events: 32 }
/** A transaction or a message that is let in while there is room may overshoot by its own size. */
const overshootBytes = 8 * 1024 * 1024

/** The parts of a monitor's consensus that the simulator alone looks at. */
interface RaftInside {
  /** Set while something is being written. */
  readonly running: unknown
  readonly node: {
    readonly id: number
    readonly role: string
    readonly term: number
    readonly commit: number
    readonly lastIndex: number
    readonly log: {
      readonly snapshotIndex: number
      slice(
        from: number,
        to: number,
      ): readonly { readonly index: number; readonly term: number; readonly data: Uint8Array }[]
    }
  }
}

/** The parts of a placement group that the simulator alone looks at. */
interface PgInside {
  readonly core: {
    readonly isPrimary: boolean
    readonly mapping: unknown
    readonly interval: { readonly since: number }
  }
  readonly clientIo: { readonly active: boolean; readonly lease: { readonly isHeld: boolean } }
}

interface TableInside {
  readonly entries: ReadonlyMap<string, { readonly host: { readonly machine: PgInside } }>
}

interface OsdPerf {
  readonly store: Readonly<Record<string, unknown>>
  readonly clients: Readonly<Record<string, number>>
  readonly scheduler: { readonly classes: Readonly<Record<string, { readonly passedBytes: number }>> }
}

/** So much cost may go past the first of a class that has a reservation: pieces are charged when they are known, and rest. */
const passedBytesMax = 8 * 1024 * 1024

function capsOf({ store, osdSettings }: Scenario): readonly ResourceCap[] {
  const { pendingBytesMax = 0, dirtyBytesMax = 0, metaCacheBytes = 0, dataCacheBytes = 0 } = store.mount
  return [
    { counter: 'pending_bytes', max: pendingBytesMax + overshootBytes },
    { counter: 'dirty_metadata_bytes', max: dirtyBytesMax + overshootBytes },
    { counter: 'metadata_cache_bytes', max: metaCacheBytes + overshootBytes },
    { counter: 'data_cache_bytes', max: dataCacheBytes + overshootBytes },
    { counter: /^passed_bytes_(client|recovery)$/, max: passedBytesMax },
    // Sessions are paused above it; what was already in their buffers still comes.
    { counter: 'ops', max: (osdSettings.osd_client_message_cap ?? 1024) + 256 },
  ]
}

interface Look {
  readonly every: { readonly ms: number; readonly events: number }
  readonly run: () => void
  dueMs: number
  eventsLeft: number
}

function lookEvery(every: Look['every'], run: () => void): Look {
  return { every, run, dueMs: 0, eventsLeft: every.events }
}

export class Observers {
  readonly maps: MapEpochChecker = new MapEpochChecker()
  readonly raft: RaftSafetyChecker = new RaftSafetyChecker()
  readonly primaries: ServingPrimariesChecker = new ServingPrimariesChecker()
  readonly caps: ResourceCapChecker
  readonly domains: FailureDomainChecker
  readonly upmapPrimaries: UpmapPrimaryChecker = new UpmapPrimaryChecker()
  private readonly cluster: SimCluster
  private readonly shownUpTo = new Map<string, number>()
  private readonly shownRaft = new Map<string, string>()
  private readonly operationsSeen = new Map<string, number>()
  private readonly looks: readonly Look[]

  constructor(cluster: SimCluster) {
    this.cluster = cluster
    this.caps = new ResourceCapChecker(capsOf(cluster.scenario))
    this.domains = new FailureDomainChecker(cluster.scenario.failureDomain)
    this.looks = [
      lookEvery(raftEvery, () => {
        for (const monitor of cluster.monitors) this.lookAtRaft(monitor)
      }),
      lookEvery(primariesEvery, () => {
        const serving: ServingPrimary[] = []
        for (const osd of cluster.osds) this.addServed(osd, serving)
        this.primaries.observe(cluster.time.nowMs, serving)
      }),
      lookEvery(capsEvery, () => {
        for (const osd of cluster.osds) this.lookAtCaps(osd)
      }),
    ]
  }

  /** Called before each event: what the events before it made is looked at when that is due. */
  onEvent(atMs: number): void {
    for (const look of this.looks) {
      if (--look.eventsLeft > 0 || atMs < look.dueMs) continue
      look.eventsLeft = look.every.events
      look.dueMs = atMs + look.every.ms
      look.run()
    }
  }

  get violations(): readonly Violation[] {
    const { maps, raft, primaries, caps, domains, upmapPrimaries } = this
    return [maps, raft, primaries, caps, domains, upmapPrimaries].flatMap((checker) => checker.violations)
  }

  /** Watches the maps that one life of a process is given. */
  watchMaps(node: DaemonNode, monitor: MonitorClient): void {
    const observer = `${node.name}#${node.starts}`
    monitor.onOsdMap((map) => {
      this.domains.observe(map)
      this.upmapPrimaries.observe(map)
      this.maps.observe({
        observer,
        atMs: this.cluster.time.nowMs,
        map: 'osdmap',
        epoch: map.epoch,
        digest: this.digestOf(map),
      })
    })
  }

  private lookAtRaft({ name, daemon, starts }: MonitorNode): void {
    const driver = (daemon as unknown as { readonly driver: RaftInside } | undefined)?.driver
    if (driver === undefined) return
    const inside = driver.node
    const { log, lastIndex, term, role, commit } = inside
    // A new disk makes a new member: ids are drawn with the store.
    const node = `${name}/${inside.id}`
    const atMs = this.cluster.time.nowMs
    if (role === 'leader') this.raft.observeLeader({ node, atMs, term })
    // What is not on the disk yet has promised nothing to anybody.
    if (driver.running !== undefined) return
    const life = `${node}#${starts}`
    const shown = `${term} ${role} ${commit} ${lastIndex} ${log.snapshotIndex}`
    if (this.shownRaft.get(life) === shown) return
    this.shownRaft.set(life, shown)
    // Entries that are not committed may still be replaced: they are shown again.
    const from = Math.max(log.snapshotIndex, this.shownUpTo.get(life) ?? 0) + 1
    const entries: RaftEntryObservation[] = log
      .slice(from, lastIndex)
      .map((entry) => ({ index: entry.index, term: entry.term, digest: digestBytes(entry.data) }))
    this.shownUpTo.set(life, commit)
    this.raft.observe({ node, atMs, term, role, commitIndex: commit, entries })
  }

  /** The placement groups of which this OSD would answer a read now. */
  private addServed({ id, daemon, machine }: OsdNode, serving: ServingPrimary[]): void {
    const table = (daemon as unknown as { readonly table: TableInside } | undefined)?.table
    if (table === undefined || machine.scope?.paused !== false) return
    for (const [pgId, { host }] of table.entries) {
      const pg = host.machine
      if (pg.core.mapping === undefined || !pg.core.isPrimary) continue
      const { active, lease } = pg.clientIo
      // The compiler does not see in here: what was renamed must not look like an OSD that never serves.
      assert(typeof active === 'boolean' && typeof lease.isHeld === 'boolean', 'the observer knows the inside of a PG')
      if (active && lease.isHeld) serving.push({ pgId, osd: id, interval: pg.core.interval.since })
    }
  }

  private lookAtCaps({ name, daemon, machine, starts }: OsdNode): void {
    // What is queued or cached came from its disk or is on its way there.
    const operations = machine.operations + starts
    if (this.operationsSeen.get(name) === operations) return
    this.operationsSeen.set(name, operations)
    const view = (daemon as unknown as { adminView(): { perf(): OsdPerf } } | undefined)?.adminView()
    if (view === undefined) return
    const { store, clients, scheduler } = view.perf()
    const passed = Object.entries(scheduler.classes).map(([work, { passedBytes }]) => [
      `passed_bytes_${work}`,
      passedBytes,
    ])
    const counters = Object.entries({ ...store, ...clients, ...Object.fromEntries(passed) }).filter(
      (entry): entry is [string, number] => typeof entry[1] === 'number',
    )
    this.caps.observe({ daemon: name, atMs: this.cluster.time.nowMs, counters: Object.fromEntries(counters) })
  }

  private digestOf(map: OsdMap): string {
    let hash = 0x811c9dc5
    const add = (value: number): void => {
      hash = Math.imul(hash ^ (value | 0), 0x01000193)
    }
    // Maps differ in their order of entries, not in what they say: sums do not mind.
    let sum = 0
    for (const osd of map.osds.values()) {
      hash = osd.id
      for (const value of [osd.up ? 1 : 0, osd.weight, osd.upFrom, osd.upThru, osd.downAt, osd.incarnation]) add(value)
      sum = (sum + hash) | 0
    }
    for (const [pgId, acting] of map.pgTemp) {
      hash = pgId.length
      for (let i = 0; i < pgId.length; i++) add(pgId.charCodeAt(i))
      for (const osd of acting) add(osd)
      sum = (sum + hash) | 0
    }
    return `${map.modifiedMs} ${sum} ${map.osds.size} ${map.pools.size} ${map.pgTemp.size}`
  }
}

function digestBytes(bytes: Uint8Array): string {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return `${bytes.length}:${hash >>> 0}`
}
