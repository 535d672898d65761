/** What an OSD answers on its admin endpoint. */
import { ClusterError, type PgId, parsePgId } from '@shoal/base'
import type { AdminHandlers } from '@shoal/monitor-client'
import { type ScrubRequest, scrubRequests } from '@shoal/placement-group'
import type { OsdParts } from './osd-options.ts'

export interface AdminView {
  readonly perf: () => unknown
  readonly ops: () => unknown
  readonly status: () => unknown
  readonly pgs: () => readonly unknown[]
  /** Undefined when this OSD has nothing of the PG. */
  readonly queryPg: (pgId: PgId) => unknown
  /** What scrub has found; undefined alike. */
  readonly inconsistent: (pgId: PgId) => unknown
  /** Those of which this OSD is the acting primary. */
  readonly ledPgs: () => readonly PgId[]
  /** EAGAIN when it does not lead the PG. */
  readonly scrub: (pgId: PgId, what: ScrubRequest) => void
}

const logLevels = ['debug', 'info', 'warn', 'error'] as const

export function adminHandlers(view: AdminView, setLogLevel: OsdParts['setLogLevel']): AdminHandlers {
  return {
    perf: () => view.perf(),
    ops: () => view.ops(),
    status: () => view.status(),
    'pg ls': () => view.pgs(),
    'pg query': (args) => ofPg(args['pgid'], view.queryPg),
    'pg list-inconsistent': (args) => ofPg(args['pgid'], view.inconsistent),
    ...scrubHandlers(view),
    ...(setLogLevel === undefined ? {} : { 'log level': (args) => changeLogLevel(setLogLevel, args['level']) }),
  }
}

/** `pg scrub`, `osd scrub` and their like: the former one PG, the latter all that this OSD leads. */
function scrubHandlers(view: AdminView): AdminHandlers {
  const handlers: Record<string, AdminHandlers[string]> = {}
  for (const what of scrubRequests) {
    handlers[`pg ${what}`] = (args) => {
      const pgId = checkedPgId(args['pgid'])
      view.scrub(pgId, what)
      return { pgs: [pgId] }
    }
    handlers[`osd ${what}`] = () => {
      const pgs = view.ledPgs()
      for (const pgId of pgs) view.scrub(pgId, what)
      return { pgs }
    }
  }
  return handlers
}

function checkedPgId(pgId: unknown): PgId {
  if (typeof pgId !== 'string' || parsePgId(pgId) === undefined) {
    throw new ClusterError('EINVAL', `'${String(pgId)}' is no placement group`, { hint: 'POOL.SEED, for instance 1.0' })
  }
  return pgId as PgId
}

function ofPg(given: unknown, of: (pgId: PgId) => unknown): unknown {
  const pgId = checkedPgId(given)
  const state = of(pgId)
  if (state === undefined) {
    throw new ClusterError('ENOENT', `this OSD has nothing of ${pgId}`, {
      hint: `shoal pg query ${pgId} asks its primary`,
    })
  }
  return state
}

function changeLogLevel(setLogLevel: NonNullable<OsdParts['setLogLevel']>, wanted: unknown): unknown {
  const level = logLevels.find((known) => known === wanted)
  if (level === undefined) {
    throw new ClusterError('EINVAL', `'${String(wanted)}' is no log level`, { hint: logLevels.join(', ') })
  }
  setLogLevel(level)
  return { level }
}
