/** Snapshots of pools as the monitors keep them: two kinds, ids that are never given again, and what is purged when. */
import { isClusterError, type OsdId, type PgId } from '@shoal/base'
import { type Pool, passOverSnaps, type SnapIntervals, snapsToTrim } from '@shoal/cluster-map'
import type { CommandReply } from '@shoal/monitor-client'
import { describe, expect, it } from 'vitest'
import { findCommand } from '../src/commands/command-table.ts'
import { defaultSettings } from '../src/config.ts'
import { initialOsdMap } from '../src/index.ts'
import { FailureDetector } from '../src/services/failure-detector.ts'
import { bootOsd } from '../src/services/osd-lifecycle.ts'
import { notePurged, purgedSnaps } from '../src/services/snap-purge.ts'
import { Statistics } from '../src/services/statistics.ts'
import { ClusterState } from '../src/state/cluster-state.ts'
import { ProposalDraft } from '../src/state/proposal-draft.ts'
import { bootOf } from './support/monitor-cluster.ts'
import { osdStatsOf, pgStatsOf } from './support/told-stats.ts'

class Bench {
  readonly state = ClusterState.initial({ fsid: 'f', epoch: 1, monitors: [] }, initialOsdMap({ fsid: 'f' }))
  readonly statistics = new Statistics()

  constructor() {
    this.change((draft) => bootOsd(draft, bootOf(0, 1, 'a'), defaultSettings))
    this.command('osd pool create', { pool: 'p', pg_num: 2, size: 1 })
  }

  change<T>(run: (draft: ProposalDraft) => T): T {
    const draft = new ProposalDraft(this.state, 'mon.a', 77)
    const result = run(draft)
    if (!draft.empty) this.state.apply(draft.finish(10))
    return result
  }

  command(prefix: string, args: object): CommandReply {
    return this.change((draft) =>
      findCommand(prefix).run(args, {
        state: this.state,
        map: draft.map,
        operations: draft.operations.value,
        settings: defaultSettings,
        statistics: this.statistics,
        failures: new FailureDetector(defaultSettings),
        quotas: undefined,
        balancer: undefined,
        quorum: { leaderId: 1, term: 1, members: [] },
        nowMs: 0,
        wallMs: 77,
        isLeader: true,
        placement: () => {
          throw new Error('these commands do not place')
        },
        draft,
      }),
    )
  }

  codeOf(prefix: string, args: object): string {
    try {
      this.command(prefix, args)
      return 'ok'
    } catch (error) {
      return isClusterError(error) ? error.code : String(error)
    }
  }

  get pool(): Pool {
    return [...this.state.osdMap.pools.values()][0] as Pool
  }

  /** What a primary tells of its placement group. */
  tell(seed: number, purged: SnapIntervals | undefined): void {
    const { osdMap } = this.state
    const alone = { up: [0 as OsdId], acting: [0 as OsdId], reportedEpoch: osdMap.epoch }
    const pg = pgStatsOf(`${this.pool.id}.${seed}` as PgId, 1, { ...alone, purgedSnaps: purged })
    this.statistics.report(
      { osd: osdStatsOf(0, { pgs: 2 }), incarnation: 1, epoch: osdMap.epoch, pgs: [pg] },
      osdMap,
      0,
    )
  }

  tick(): void {
    const purged = purgedSnaps(this.state.osdMap, this.statistics)
    this.change((draft) => notePurged(draft, purged))
  }
}

describe('a pool', () => {
  it('has snapshots with names, each made once and removed once, and ids that are never given again', () => {
    const bench = new Bench()
    const monday = { pool: 'p', snap: 'monday' }
    expect(bench.command('osd pool mksnap', monday).data).toMatchObject({ snap: 1, epoch: bench.state.osdMap.epoch })
    expect(bench.command('osd pool mksnap', monday).data).toMatchObject({ snap: 1 })
    expect(bench.command('osd pool lssnap', { pool: 'p' }).data).toEqual([{ id: 1, name: 'monday', createdMs: 77 }])
    bench.command('osd pool rmsnap', monday)
    expect(bench.codeOf('osd pool rmsnap', monday)).toBe('ok')
    expect(bench.command('osd pool mksnap', monday).data).toMatchObject({ snap: 2 })
    expect(bench.pool.snapshots?.removed).toEqual([{ first: 1, last: 1 }])
    expect(bench.codeOf('osd pool mksnap', { pool: 'p', snap: 'a b' })).toBe('EINVAL')
    expect(bench.codeOf('osd pool mksnap', { pool: 'q', snap: 'monday' })).toBe('ENOENT')
  })

  it('is of one kind for good, also when its last snapshot is gone', () => {
    const bench = new Bench()
    bench.command('osd pool mksnap', { pool: 'p', snap: 'monday' })
    bench.command('osd pool rmsnap', { pool: 'p', snap: 'monday' })
    expect(bench.codeOf('osd pool selfmanaged-snap create', { pool: 'p' })).toBe('EINVAL')
    expect(bench.codeOf('osd pool selfmanaged-snap rm', { pool: 'p', snap: 1 })).toBe('EINVAL')
    bench.command('osd pool create', { pool: 'q', pg_num: 2, size: 1 })
    expect(bench.command('osd pool selfmanaged-snap create', { pool: 'q' }).data).toMatchObject({ snap: 1 })
    expect(bench.command('osd pool selfmanaged-snap create', { pool: 'q' }).data).toMatchObject({ snap: 2 })
    expect(bench.codeOf('osd pool mksnap', { pool: 'q', snap: 'monday' })).toBe('EINVAL')
    expect(bench.codeOf('osd pool selfmanaged-snap rm', { pool: 'q', snap: 3 })).toBe('ENOENT')
    expect(bench.codeOf('osd pool selfmanaged-snap rm', { pool: 'q', snap: 1 })).toBe('ok')
    expect(bench.codeOf('osd pool selfmanaged-snap rm', { pool: 'q', snap: 1 })).toBe('ok')
  })

  it('forgets a removed snapshot when every placement group has told that nothing is left of it', () => {
    const bench = new Bench()
    for (const snap of ['a', 'b', 'c']) bench.command('osd pool mksnap', { pool: 'p', snap })
    for (const snap of ['a', 'b']) bench.command('osd pool rmsnap', { pool: 'p', snap })
    bench.tick()
    bench.tell(0, [{ first: 1, last: 2 }])
    bench.tick()
    expect(snapsToTrim(bench.pool.snapshots)).toEqual([{ first: 1, last: 2 }])
    bench.tell(1, [{ first: 2, last: 2 }])
    bench.tick()
    expect(snapsToTrim(bench.pool.snapshots)).toEqual([{ first: 1, last: 1 }])
    const { epoch } = bench.state.osdMap
    bench.tick()
    expect(bench.state.osdMap.epoch).toBe(epoch)
    // A slow proposal: the leader found the same twice.
    bench.change((draft) => notePurged(draft, new Map([[bench.pool.id, [{ first: 2, last: 2 }]]])))
    expect(bench.state.osdMap.epoch).toBe(epoch)
    bench.tell(1, [{ first: 1, last: 1 }])
    bench.tick()
    expect(bench.pool.snapshots).toMatchObject({ removed: [{ first: 1, last: 2 }], purged: [{ first: 1, last: 2 }] })
  })

  it('goes on after the ids that were passed over when its monitors were made anew', () => {
    const bench = new Bench()
    bench.change((draft) => draft.osd.setPool(passOverSnaps(bench.pool, 256)))
    expect(bench.command('osd pool mksnap', { pool: 'p', snap: 'monday' }).data).toMatchObject({ snap: 257 })
    const [row] = bench.command('osd pool ls', {}).data as readonly { readonly options: object }[]
    expect(row?.options).toEqual({})
  })
})
