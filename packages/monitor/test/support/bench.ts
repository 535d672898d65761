/** The monitors' state and statistics without monitors: commands are run, epochs made, PGs report as the test says. */
import type { Epoch, OsdId, PgId } from '@shoal/base'
import { featurePgSplit, type OsdMap, type PgState, type PgStats, PlacementCache, pgIdsOf } from '@shoal/cluster-map'
import { findCommand } from '../../src/commands/command-table.ts'
import { defaultSettings } from '../../src/config.ts'
import { initialOsdMap } from '../../src/index.ts'
import { bootOsd } from '../../src/services/osd-lifecycle.ts'
import { Statistics } from '../../src/services/statistics.ts'
import { ClusterState } from '../../src/state/cluster-state.ts'
import { ProposalDraft } from '../../src/state/proposal-draft.ts'
import { bootOf } from './monitor-cluster.ts'

/** Six OSDs on three hosts and a pool. */
export class Bench {
  readonly state = ClusterState.initial(
    { fsid: 'f', epoch: 1, monitors: [] },
    initialOsdMap({ fsid: 'f', failureDomain: 'host' }),
  )
  readonly statistics = new Statistics()
  private sequence = 0

  /** `features`: of the OSDs. */
  constructor(features: number = featurePgSplit, pgNum = 32) {
    for (let id = 0; id < 6; id++) {
      this.change((draft) => bootOsd(draft, { ...bootOf(id, 1, `host-${id % 3}`), features }, defaultSettings))
    }
    this.run({ prefix: 'osd pool create', pool: 'p', pg_num: pgNum })
    this.reportAll(['active', 'clean'])
  }

  get map(): OsdMap {
    return this.state.osdMap
  }

  change(mutation: (draft: ProposalDraft) => unknown): void {
    const draft = new ProposalDraft(this.state, 'a', 0)
    mutation(draft)
    if (!draft.empty) this.state.apply(draft.finish(100))
  }

  run(command: { readonly prefix: string; readonly [argument: string]: unknown }): void {
    const { prefix, ...args } = command
    this.change((draft) => findCommand(prefix).run(args, { draft, map: draft.map, settings: defaultSettings } as never))
  }

  reportAll(states: readonly PgState[], only?: PgId): void {
    const pgs = [...this.map.pools.values()].flatMap(pgIdsOf).filter((id) => only === undefined || id === only)
    const placement = new PlacementCache(this.map)
    const stats = pgs.map(
      (pgId): PgStats => ({
        pgId,
        states,
        reportedEpoch: this.map.epoch,
        reportedSequence: ++this.sequence,
        version: "3'1",
        ...placement.mapping(pgId),
        objects: 0,
        bytes: 0,
        logEntries: 0,
        degradedCopies: 0,
        misplacedCopies: 0,
        unfoundObjects: 0,
        lastScrubMs: 0,
        lastDeepScrubMs: 0,
        scrubErrors: 0,
        lastEpochClean: 1 as Epoch,
        readOps: 0,
        writeOps: 0,
        readBytes: 0,
        writeBytes: 0,
        recoveredObjects: 0,
        recoveredBytes: 0,
      }),
    )
    const osd = {
      osd: 0 as OsdId,
      totalBytes: 1,
      usedBytes: 0,
      metadataBytes: 0,
      pgs: pgs.length,
      commitLatencyMs: 0,
      applyLatencyMs: 0,
      slowOps: 0,
      silentPeers: [],
      checksumErrors: 0,
      repairedBlocks: 0,
    }
    this.statistics.report({ osd, pgs: stats, incarnation: 1 } as never, this.map, 0)
  }
}
