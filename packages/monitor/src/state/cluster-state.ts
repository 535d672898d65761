/**
 * The replicated state of the monitors: monitor map, OSD maps, cluster log, answers to recent commands, and what operators
 * keep.
 *
 * Invariant 1: the state is a function of the applied proposals alone. No clock, no randomness, no order of objects in
 *              memory enters it; two monitors at the same log index have the same snapshot, byte for byte.
 * Invariant 2: a proposal applies whole or not at all.
 */
import { decode, encode } from '@shoal/base'
import type { MonitorMap, OsdMap } from '@shoal/cluster-map'
import type { ClusterLogEntry } from '@shoal/monitor-client'
import { applyOperations, noOperations, type Operations } from './operations.ts'
import { OsdMapHistory } from './osd-map-history.ts'
import { type Proposal, type RecordedReply, stateSnapshotCodec } from './proposal.ts'

/** Commands are retried within a minute; so many replies are minutes of the busiest operator. */
const repliesMax = 1_024

export type ApplyResult = 'applied' | 'overtaken'

export class ClusterState {
  private monitors: MonitorMap
  private history: OsdMapHistory
  private entries: ClusterLogEntry[] = []
  private readonly replies = new Map<string, RecordedReply>()
  private keys = new Map<string, string>()
  private operated: Operations | undefined

  constructor(monitors: MonitorMap, osdMaps: OsdMapHistory, operations: Operations | undefined) {
    this.monitors = monitors
    this.history = osdMaps
    this.operated = operations
  }

  /** The state of a cluster that never applied anything. Equal on all its first monitors. */
  static initial(monitors: MonitorMap, osdMap: OsdMap): ClusterState {
    return new ClusterState(monitors, new OsdMapHistory(osdMap), noOperations)
  }

  get monitorMap(): MonitorMap {
    return this.monitors
  }

  get osdMap(): OsdMap {
    return this.history.map
  }

  get osdMaps(): OsdMapHistory {
    return this.history
  }

  /** Oldest first. */
  get log(): readonly ClusterLogEntry[] {
    return this.entries
  }

  /** Small secrets and settings of daemons, by name: Ceph's config-key store. */
  get configKeys(): ReadonlyMap<string, string> {
    return this.keys
  }

  /** Undefined in a cluster of an earlier version, until an operator first uses something of it. */
  get operations(): Operations | undefined {
    return this.operated
  }

  replyTo(requestId: string): RecordedReply | undefined {
    return this.replies.get(requestId)
  }

  apply(proposal: Proposal): ApplyResult {
    const { osdMap, monitorMap, operations } = proposal
    if (osdMap !== undefined && osdMap.epoch !== this.history.last + 1) return 'overtaken'
    if (monitorMap !== undefined && monitorMap.epoch !== this.monitors.epoch + 1) return 'overtaken'
    if (operations !== undefined && operations.version !== (this.operated?.version ?? 0) + 1) return 'overtaken'
    if (osdMap !== undefined) this.history.append(osdMap)
    if (operations !== undefined) this.operated = applyOperations(this.operated ?? noOperations, operations)
    if (monitorMap !== undefined) this.monitors = monitorMap
    if (proposal.trimOsdMapsBefore > 0 && proposal.trimOsdMapsBefore <= this.history.last) {
      this.history.trim(proposal.trimOsdMapsBefore)
    }
    this.entries.push(...proposal.log)
    if (this.entries.length > proposal.logMax) this.entries = this.entries.slice(-proposal.logMax)
    for (const [key, value] of proposal.configKeys) {
      if (value === undefined) this.keys.delete(key)
      else this.keys.set(key, value)
    }
    for (const reply of proposal.replies) {
      this.replies.set(reply.requestId, reply)
      const [oldest] = this.replies.keys()
      if (this.replies.size > repliesMax && oldest !== undefined) this.replies.delete(oldest)
    }
    return 'applied'
  }

  snapshot(): Uint8Array {
    const { first, incrementals } = this.history.snapshot()
    return encode(stateSnapshotCodec, {
      monitorMap: this.monitors,
      firstOsdMap: first,
      incrementals,
      log: this.entries,
      replies: [...this.replies.values()],
      operations: this.operated,
      // In one order, whatever order they were set in.
      configKeys: new Map([...this.keys].sort(([a], [b]) => (a < b ? -1 : 1))),
    })
  }

  /** Takes the place of everything. Throws EBADMSG on a malformed snapshot and leaves the state as it was. */
  restore(bytes: Uint8Array): void {
    const snapshot = decode(stateSnapshotCodec, bytes)
    this.history = OsdMapHistory.restore(snapshot.firstOsdMap, snapshot.incrementals)
    this.monitors = snapshot.monitorMap
    this.entries = [...snapshot.log]
    this.keys = new Map(snapshot.configKeys)
    this.operated = snapshot.operations
    this.replies.clear()
    for (const reply of snapshot.replies) this.replies.set(reply.requestId, reply)
  }
}
