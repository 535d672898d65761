/**
 * When the placement of PGs, and of their primaries, is made more even: only while the cluster has nothing else to do, a few
 * at a time, so that clients notice little and a plan is made from what is, not from what is on its way. What is even, and
 * what may be moved, is decided in cluster-map's upmap-balancer.ts and primary-balancer.ts. Primaries come when copies are
 * even: every copy that moves may change who can be primary.
 *
 * Invariant 1: no plan while any PG is not active+clean, an OSD that is in is down, or a flag forbids data to move.
 * Invariant 2: a plan waits for the PGs of the plan before it: they have reported since, under a map that has it.
 */
import type { Epoch, PgId } from '@shoal/base'
import {
  type OsdFlag,
  type OsdMap,
  type PrimaryPlan,
  planPrimaries,
  planUpmaps,
  type UpmapPlan,
} from '@shoal/cluster-map'
import type { BalancerStatus } from '@shoal/monitor-client'
import type { MonitorSettings } from '../config.ts'
import { shrinks } from './pg-num.ts'
import type { Statistics } from './statistics.ts'
import { osdThatCannotFollowPrimaries } from './upmap-primaries.ts'

/** One of the two is empty. */
export type BalancePlan = UpmapPlan & PrimaryPlan

const holdingFlags: readonly OsdFlag[] = ['nobalance', 'norebalance', 'nobackfill', 'norecover', 'pausewr', 'pauserd']
const noPlan: BalancePlan = { upmapItems: new Map(), upmapPrimaries: new Map() }

type BalancerWork = Pick<BalancerStatus, 'state' | 'why' | 'lastPlanAgeSeconds' | 'lastChanges'>

export class Balancer {
  private readonly settings: MonitorSettings
  private nextMs: number
  private planned: ReadonlySet<PgId> = new Set()
  private plannedFor = 0 as Epoch
  private lastChanges = 0
  private lastPlanMs: number | undefined

  constructor(settings: MonitorSettings, nowMs: number) {
    this.settings = settings
    this.nextMs = nowMs + settings.balancer_sleep_interval * 1_000
  }

  /** Once a second: mostly nothing. */
  plan(map: OsdMap, statistics: Statistics, nowMs: number): BalancePlan {
    if (nowMs < this.nextMs) return noPlan
    this.nextMs = nowMs + this.settings.balancer_sleep_interval * 1_000
    if (this.whyNot(map, statistics) !== undefined) return noPlan
    const plan = this.next(map)
    this.planned = new Set([...plan.upmapItems.keys(), ...plan.upmapPrimaries.keys()])
    this.plannedFor = map.epoch
    this.lastChanges = this.planned.size
    this.lastPlanMs = nowMs
    return plan
  }

  private next(map: OsdMap): BalancePlan {
    const { balancer_mode: mode, balancer_upmap_max_optimizations: changesMax } = this.settings
    if (mode !== 'read') {
      const { upmapItems } = planUpmaps(map, { changesMax })
      if (upmapItems.size > 0) return { ...noPlan, upmapItems }
    }
    if (mode === 'upmap' || osdThatCannotFollowPrimaries(map) !== undefined) return noPlan
    return { ...noPlan, ...planPrimaries(map, { changesMax }) }
  }

  status(map: OsdMap, statistics: Statistics, nowMs: number): BalancerWork {
    const why = this.whyNot(map, statistics) ?? ''
    const { lastPlanMs, lastChanges } = this
    const settled = lastPlanMs !== undefined && lastChanges === 0 ? 'balanced' : 'balancing'
    return {
      state: map.flags.has('nobalance') ? 'off' : why === '' ? settled : 'waiting',
      why,
      lastPlanAgeSeconds: lastPlanMs === undefined ? undefined : Math.round((nowMs - lastPlanMs) / 1_000),
      lastChanges,
    }
  }

  /** What a plan waits for; undefined when one may be made. */
  private whyNot(map: OsdMap, statistics: Statistics): string | undefined {
    const flag = holdingFlags.find((one) => map.flags.has(one))
    if (flag !== undefined) return `flag ${flag} is set`
    for (const pool of map.pools.values())
      if (shrinks(pool)) return `placement groups of '${pool.name}' are being merged`
    for (const osd of map.osds.values()) if (osd.weight > 0 && !osd.up) return `osd.${osd.id} is down`
    for (const { pgId, stats, states } of statistics.rows(map)) {
      if (stats === undefined || !states.includes('active') || !states.includes('clean') || states.includes('stale')) {
        return `${pgId} is ${states.join('+')}`
      }
      if (this.planned.has(pgId) && stats.reportedEpoch <= this.plannedFor) return `${pgId} has not moved yet`
    }
    return undefined
  }
}
