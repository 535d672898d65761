/** The monitors' state and statistics without monitors: commands are run, epochs made, PGs report as the test says. */
import type { Epoch, PgId } from '@shoal/base'
import { featurePgSplit, type OsdMap, type PgState, PlacementCache, pgIdsOf } from '@shoal/cluster-map'
import { findCommand } from '../../src/commands/command-table.ts'
import { defaultSettings } from '../../src/config.ts'
import { initialOsdMap } from '../../src/index.ts'
import { bootOsd } from '../../src/services/osd-lifecycle.ts'
import { Statistics } from '../../src/services/statistics.ts'
import { ClusterState } from '../../src/state/cluster-state.ts'
import { ProposalDraft } from '../../src/state/proposal-draft.ts'
import { bootOf } from './monitor-cluster.ts'
import { osdStatsOf, pgStatsOf } from './told-stats.ts'

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
    const told = { states, reportedEpoch: this.map.epoch, version: "3'1", lastEpochClean: 1 as Epoch }
    const stats = pgs.map((id) => pgStatsOf(id, ++this.sequence, { ...told, ...placement.mapping(id) }))
    const osd = osdStatsOf(0, { totalBytes: 1, usedBytes: 0, pgs: pgs.length })
    this.statistics.report({ osd, pgs: stats, incarnation: 1 } as never, this.map, 0)
  }
}
