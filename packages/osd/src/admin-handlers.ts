/** What an OSD answers on its admin endpoint. */
import { ClusterError, type PgId, parsePgId } from '@shoal/base'
import type { AdminHandlers } from '@shoal/monitor-client'
import type { OsdParts } from './osd-options.ts'

export interface AdminView {
  readonly perf: () => unknown
  readonly ops: () => unknown
  readonly status: () => unknown
  readonly pgs: () => readonly unknown[]
  /** Undefined when this OSD has nothing of the PG. */
  readonly queryPg: (pgId: PgId) => unknown
  /** Values in force, and where each came from. */
  readonly config: () => unknown
}

const logLevels = ['debug', 'info', 'warn', 'error'] as const

export function adminHandlers(view: AdminView, setLogLevel: OsdParts['setLogLevel']): AdminHandlers {
  return {
    perf: () => view.perf(),
    ops: () => view.ops(),
    status: () => view.status(),
    'pg ls': () => view.pgs(),
    'config show': () => view.config(),
    'pg query': (args) => queryPg(view, args['pgid']),
    ...(setLogLevel === undefined ? {} : { 'log level': (args) => changeLogLevel(setLogLevel, args['level']) }),
  }
}

function queryPg(view: AdminView, pgId: unknown): unknown {
  if (typeof pgId !== 'string' || parsePgId(pgId) === undefined) {
    throw new ClusterError('EINVAL', `'${String(pgId)}' is no placement group`, { hint: 'POOL.SEED, for instance 1.0' })
  }
  const state = view.queryPg(pgId as PgId)
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
