/**
 * Whether OSDs may be stopped, and whether they may be given up for good (Ceph: `osd ok-to-stop`, `osd safe-to-destroy`),
 * and taking the data from them (`osd drain`, as cephadm's `orch osd rm` does it).
 *
 * Both answer from the statistics of the primaries and from the map, and say no when these do not fit together: a primary
 * that has not told of the present acting set may know of copies that are not whole.
 */
import { ClusterError, type OsdId, type PgId } from '@shoal/base'
import { noOsd, type OsdInfo, type PgState, weightOne } from '@shoal/cluster-map'
import { reweightItem } from '@shoal/crush'
import type { DrainReply, OkToStopReply, SafeToDestroyReply } from '@shoal/monitor-client'
import { z } from 'zod'
import { deviceWeight } from '../services/crush-topology.ts'
import { requireOsd } from '../services/osd-lifecycle.ts'
import { isCurrent } from '../services/pg-rows.ts'
import type { PgSummaryRow } from '../services/statistics.ts'
import {
  type ClusterView,
  type Command,
  done,
  osdsArgument,
  readCommand,
  type WriteView,
  writeCommand,
} from './command.ts'

/** Members of acting miss objects: who stays may be the one that does. */
const recovering: readonly PgState[] = ['recovering', 'recovery_wait', 'recovery_toofull']

const names = (ids: readonly OsdId[]): string => ids.map((id) => `osd.${id}`).join(', ')

function* pgsOn(ids: readonly OsdId[], view: ClusterView, where: 'acting' | 'up or acting'): Generator<PgSummaryRow> {
  for (const row of view.statistics.rows(view.map)) {
    const { up, acting } = view.placement().mapping(row.pgId)
    const has = (osds: readonly OsdId[]): boolean => ids.some((id) => osds.includes(id))
    if (has(acting) || (where === 'up or acting' && has(up))) yield row
  }
}

function okToStop(ids: readonly OsdId[], view: ClusterView) {
  requireLeader(view)
  const okBecomeDegraded: PgId[] = []
  const badNoStats: PgId[] = []
  const badAlreadyInactive: PgId[] = []
  const badBecomeInactive: PgId[] = []
  const badRecovering: PgId[] = []
  for (const row of pgsOn(ids, view, 'acting')) {
    const { acting } = view.placement().mapping(row.pgId)
    const pool = view.map.pools.get(poolOf(row.pgId))
    const left = acting.filter((osd) => osd !== noOsd && !ids.includes(osd)).length
    if (!isCurrent(row, view)) badNoStats.push(row.pgId)
    else if (!row.states.includes('active') || row.states.includes('stale')) badAlreadyInactive.push(row.pgId)
    else if (left < (pool?.minSize ?? 1)) badBecomeInactive.push(row.pgId)
    else if (row.states.some((state) => recovering.includes(state))) badRecovering.push(row.pgId)
    else okBecomeDegraded.push(row.pgId)
  }
  const bad = badNoStats.length + badAlreadyInactive.length + badBecomeInactive.length + badRecovering.length
  const reply: OkToStopReply = {
    osds: ids,
    okBecomeDegraded,
    badNoStats,
    badAlreadyInactive,
    badBecomeInactive,
    badRecovering,
  }
  if (bad > 0) {
    const first = [...badBecomeInactive, ...badAlreadyInactive, ...badRecovering, ...badNoStats][0]
    throw new ClusterError('EBUSY', `unsafe to stop ${names(ids)} now: ${bad} PGs are or would become offline`, {
      hint: `${why(reply)}; shoal pg query ${first}`,
    })
  }
  return done(`${names(ids)} may be stopped: ${okBecomeDegraded.length} PGs would be degraded, none offline`, reply)
}

function poolOf(pgId: PgId): Parameters<ClusterView['map']['pools']['get']>[0] {
  return Number(pgId.slice(0, pgId.indexOf('.'))) as Parameters<ClusterView['map']['pools']['get']>[0]
}

function why(reply: OkToStopReply): string {
  const parts: string[] = []
  const say = (pgs: readonly string[], words: string): void => {
    if (pgs.length > 0) parts.push(`${pgs.length} ${words}`)
  }
  say(reply.badBecomeInactive, 'would have fewer copies than min_size')
  say(reply.badAlreadyInactive, 'are not active')
  say(reply.badRecovering, 'recover objects that other members miss')
  say(reply.badNoStats, 'have not told of their present members yet')
  return parts.join(', ')
}

function requireLeader(view: ClusterView): void {
  if (!view.isLeader) {
    throw new ClusterError('EAGAIN', 'only the leading monitor knows: there is no quorum', { hint: 'shoal mon stat' })
  }
}

function safeToDestroy(ids: readonly OsdId[], view: ClusterView) {
  requireLeader(view)
  const safe: OsdId[] = []
  const active: OsdId[] = []
  const stored: OsdId[] = []
  const missingStats: OsdId[] = []
  const rows = [...view.statistics.rows(view.map)]
  const unsure = rows.filter((row) => !isCurrent(row, view) || row.states.includes('stale'))
  const unclean = rows.filter((row) => !row.states.includes('clean'))
  for (const id of ids) {
    const osd = view.map.osds.get(id)
    const stats = view.statistics.osd(id)
    if (osd === undefined) safe.push(id)
    else if (!pgsOn([id], view, 'up or acting').next().done) active.push(id)
    else if (unsure.length > 0 || (osd.up && stats === undefined)) missingStats.push(id)
    else if (mayHold(osd, unclean.length, view)) stored.push(id)
    else safe.push(id)
  }
  const reply: SafeToDestroyReply = { safe, active, stored, missingStats }
  if (active.length > 0) {
    throw new ClusterError('EBUSY', `${names(active)} still serve placement groups`, {
      hint: `shoal osd drain ${active.join(' ')}`,
    })
  }
  if (stored.length > 0) {
    throw new ClusterError('EBUSY', `${names(stored)} may hold copies that others still lack`, {
      hint: 'wait until all PGs are active+clean: shoal pg stat',
    })
  }
  if (missingStats.length > 0) {
    throw new ClusterError('EAGAIN', `nothing can be said of ${names(missingStats)}: statistics are not complete`, {
      hint: 'ask again in a few seconds; shoal pg ls unknown stale',
    })
  }
  return done(`${names(safe)} may be destroyed without making data less safe`, reply)
}

/** Takes all placement groups from the OSDs: CRUSH weight 0, so that others take their share at once and for good. */
function drain(ids: readonly OsdId[], { draft }: WriteView) {
  const { crush } = draft.map
  const drained = ids.map((id) => {
    requireOsd(draft.map, id)
    return { id, crushWeightBefore: deviceWeight(crush, id) / weightOne }
  })
  const changed = drained.filter(({ crushWeightBefore }) => crushWeightBefore > 0)
  if (changed.length > 0) {
    draft.osd.setCrush(changed.reduce((map, { id }) => reweightItem(map, `osd.${id}`, 0), crush))
    draft.log(
      'info',
      `draining ${changed.map(({ id, crushWeightBefore }) => `osd.${id} (weight ${crushWeightBefore})`).join(', ')}`,
    )
  }
  const back = changed.map(({ id, crushWeightBefore }) => `shoal crush reweight osd.${id} ${crushWeightBefore}`)
  const reply: DrainReply = { drained }
  return done(
    changed.length === 0
      ? `${names(ids)} weigh nothing already`
      : `draining ${names(ids)}; back with: ${back.join('; ')}`,
    reply,
  )
}

/**
 * Copies that nobody is to serve from are dropped when their PG is clean; until then they may be the last. That an OSD has
 * none is known as of the map that it had when it told: under a later one it may have got some.
 */
function mayHold(osd: OsdInfo, unclean: number, { statistics, map }: ClusterView): boolean {
  if (!osd.up) return unclean > 0
  if ((statistics.osd(osd.id)?.pgs ?? 0) > 0) return true
  return unclean > 0 && statistics.lastReportEpoch(osd.id) !== map.epoch
}

const ids = z.object({ ids: osdsArgument })

export const osdSafetyCommands: readonly Command[] = [
  writeCommand('osd drain', ids, (args, view) => drain(args.ids, view)),
  readCommand('osd ok-to-stop', ids, (args, view) => okToStop(args.ids, view)),
  readCommand('osd safe-to-destroy', ids, (args, view) => safeToDestroy(args.ids, view)),
]
