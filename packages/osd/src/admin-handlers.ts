/** What an OSD answers on its admin endpoint. */
import { ClusterError, type PgId, parsePgId } from '@shoal/base'
import type { AdminHandlers } from '@shoal/monitor-client'
import type { OperatorCommand } from '@shoal/placement-group'

export interface AdminView {
  readonly perf: () => unknown
  readonly ops: () => unknown
  readonly status: () => unknown
  readonly pgs: () => readonly unknown[]
  /** Undefined when this OSD has nothing of the PG. */
  readonly queryPg: (pgId: PgId) => unknown
  /** Values in force, and where each came from. */
  readonly config: () => unknown
  /** Undefined when this OSD has nothing of the PG. */
  readonly operatePg: (pgId: PgId, command: OperatorCommand) => Promise<unknown> | undefined
}

export function adminHandlers(view: AdminView): AdminHandlers {
  return {
    perf: () => view.perf(),
    ops: () => view.ops(),
    status: () => view.status(),
    'pg ls': () => view.pgs(),
    'config show': () => view.config(),
    'pg query': (args) => known(args['pgid'], (pgId) => view.queryPg(pgId)),
    ...operatorHandlers(view),
  }
}

/** What is asked of the primary of one placement group. */
function operatorHandlers(view: AdminView): AdminHandlers {
  const operate = (args: Readonly<Record<string, unknown>>, command: OperatorCommand): unknown =>
    known(args['pgid'], (pgId) => view.operatePg(pgId, command))
  const forced = (what: 'recovery' | 'backfill', on: boolean): AdminHandlers => ({
    [`pg ${on ? '' : 'cancel-'}force-${what}`]: (args) => operate(args, { kind: 'force', what, on }),
  })
  return {
    'pg list-unfound': (args) => operate(args, { kind: 'list-unfound' }),
    'pg mark-unfound-lost': (args) => {
      const { mode } = args
      if (mode !== 'revert' && mode !== 'delete') {
        throw new ClusterError('EINVAL', `'${String(mode)}' is no way to give up objects`, { hint: 'revert or delete' })
      }
      return operate(args, { kind: 'mark-unfound-lost', mode })
    },
    ...forced('recovery', true),
    ...forced('recovery', false),
    ...forced('backfill', true),
    ...forced('backfill', false),
  }
}

function known(pgId: unknown, ask: (pgId: PgId) => unknown): unknown {
  if (typeof pgId !== 'string' || parsePgId(pgId) === undefined) {
    throw new ClusterError('EINVAL', `'${String(pgId)}' is no placement group`, { hint: 'POOL.SEED, for instance 1.0' })
  }
  const answer = ask(pgId as PgId)
  if (answer === undefined) {
    throw new ClusterError('ENOENT', `this OSD has nothing of ${pgId}`, {
      hint: `shoal pg query ${pgId} asks its primary`,
    })
  }
  return answer
}
