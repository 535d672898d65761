/**
 * A proposal in the making: what the mutations of one batch have decided so far. The leader gives each mutation the draft,
 * takes back what a failed one did, and proposes the rest together.
 */
import type { Epoch } from '@shoal/base'
import type { MonitorMap, OsdMap } from '@shoal/cluster-map'
import type { ClusterLogEntry } from '@shoal/monitor-client'
import type { ClusterState } from './cluster-state.ts'
import { OperationsDraft } from './operations-draft.ts'
import { OsdMapChange } from './osd-map-change.ts'
import type { Proposal, RecordedReply } from './proposal.ts'

export class ProposalDraft {
  readonly osd: OsdMapChange
  readonly operations: OperationsDraft
  /** Stamped on everything in this proposal. */
  readonly wallMs: number
  private readonly from: string
  private readonly monitorsBefore: MonitorMap
  private monitorsAfter: MonitorMap | undefined
  private entries: ClusterLogEntry[] = []
  private replies: RecordedReply[] = []
  private trimBefore = 0 as Epoch
  private readonly keysBefore: ReadonlyMap<string, string>
  private keyChanges = new Map<string, string | undefined>()

  constructor(state: ClusterState, from: string, wallMs: number) {
    this.osd = new OsdMapChange(state.osdMap)
    this.operations = new OperationsDraft(state.operations)
    this.monitorsBefore = state.monitorMap
    this.keysBefore = state.configKeys
    this.from = from
    this.wallMs = wallMs
  }

  get map(): OsdMap {
    return this.osd.map
  }

  get monitorMap(): MonitorMap {
    return this.monitorsAfter ?? this.monitorsBefore
  }

  get empty(): boolean {
    const changes = this.entries.length + this.keyChanges.size
    return (
      this.osd.empty &&
      this.operations.empty &&
      this.monitorsAfter === undefined &&
      changes === 0 &&
      this.trimBefore === 0
    )
  }

  /** With what this proposal carries already. */
  configKeys(): Map<string, string> {
    const keys = new Map(this.keysBefore)
    for (const [key, value] of this.keyChanges) {
      if (value === undefined) keys.delete(key)
      else keys.set(key, value)
    }
    return keys
  }

  /** Undefined takes the key away. */
  setConfigKey(key: string, value: string | undefined): void {
    this.keyChanges.set(key, value)
  }

  setMonitors(monitors: MonitorMap['monitors']): void {
    this.monitorsAfter = { ...this.monitorsBefore, epoch: this.monitorsBefore.epoch + 1, monitors }
  }

  log(level: ClusterLogEntry['level'], message: string): void {
    this.entries.push({ from: this.from, wallMs: this.wallMs, level, message })
  }

  addLogEntry(entry: ClusterLogEntry): void {
    this.entries.push(entry)
  }

  recordReply(reply: RecordedReply): void {
    this.replies.push(reply)
  }

  trimOsdMapsBefore(epoch: Epoch): void {
    this.trimBefore = epoch
  }

  checkpoint(): () => void {
    const rollbackOsd = this.osd.checkpoint()
    const rollbackOperations = this.operations.checkpoint()
    const { monitorsAfter, trimBefore } = this
    const entries = [...this.entries]
    const replies = [...this.replies]
    const keyChanges = new Map(this.keyChanges)
    return () => {
      rollbackOsd()
      rollbackOperations()
      this.monitorsAfter = monitorsAfter
      this.trimBefore = trimBefore
      this.entries = entries
      this.replies = replies
      this.keyChanges = keyChanges
    }
  }

  finish(logMax: number): Proposal {
    return {
      osdMap: this.osd.empty ? undefined : this.osd.finish(this.wallMs),
      monitorMap: this.monitorsAfter,
      log: this.entries,
      replies: this.replies,
      trimOsdMapsBefore: this.trimBefore,
      logMax,
      operations: this.operations.empty ? undefined : this.operations.finish(),
      configKeys: this.keyChanges,
    }
  }
}
