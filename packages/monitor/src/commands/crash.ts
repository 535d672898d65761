/** Reports of daemons that ended by a bug. Daemons post their own at their next start. docs/mechanisms/crash.md */
import { ClusterError } from '@shoal/base'
import type { CrashReport } from '@shoal/monitor-client'
import { z } from 'zod'
import type { Operations } from '../state/operations.ts'
import { type Command, done, noArguments, numberArgument, readCommand, writeCommand } from './command.ts'

/** More are refused room: the oldest go, those first that somebody has seen. */
const crashesMax = 256

const idArgument = z.object({ id: z.string().min(1).max(128) })
const line = (most: number) => z.string().max(most).default('')

const report = z.object({
  id: z.string().regex(/^\d{4}-\d\d-\d\dT[\d:.]+Z_[0-9a-f]{8,32}$/, 'TIME_RANDOM'),
  entity: z.string().regex(/^[a-z]+\.[A-Za-z0-9_.-]{1,62}$/, 'a daemon like osd.3'),
  wall_ms: z.number().min(0),
  version: line(64),
  host: line(255),
  reason: line(1_024),
  stack: line(16_384),
})

function find({ crashes }: Operations, id: string): CrashReport {
  const crash = crashes.get(id)
  if (crash !== undefined) return crash
  throw new ClusterError('ENOENT', `there is no crash '${id}'`, { hint: 'shoal crash ls' })
}

/** Without stacks: `crash info` has them. */
const rows = ({ crashes }: Operations) => [...crashes.values()].map(({ stack: _stack, ...row }) => row)

export const crashCommands: readonly Command[] = [
  writeCommand('crash post', report, (args, { draft, state }) => {
    if (state.operations === undefined) {
      throw new ClusterError('EOPNOTSUPP', 'this cluster of an earlier version keeps no reports of crashes yet', {
        hint: 'once all monitors are upgraded, any `shoal config set` begins it',
      })
    }
    const { crashes } = draft.operations.value
    if (crashes.has(args.id)) return done(`${args.id} is known`)
    const { id, entity, host, reason, stack, version: shoalVersion, wall_ms: wallMs } = args
    draft.operations.setCrash({ id, wallMs, entity, host, shoalVersion, reason, stack, archivedMs: 0 })
    const oldest = [...crashes.values()].sort((a, b) => Number(a.archivedMs === 0) - Number(b.archivedMs === 0))
    for (const crash of oldest.slice(0, Math.max(0, crashes.size + 1 - crashesMax)))
      draft.operations.removeCrash(crash.id)
    draft.log('error', `${entity} crashed: ${reason} (${id})`)
    return done(`${id} is taken down`)
  }),
  readCommand('crash ls', noArguments, (_args, { operations }) => done('', rows(operations))),
  readCommand('crash ls-new', noArguments, (_args, { operations }) =>
    done(
      '',
      rows(operations).filter((row) => row.archivedMs === 0),
    ),
  ),
  readCommand('crash info', idArgument, (args, { operations }) => done('', find(operations, args.id))),
  writeCommand('crash archive', idArgument, (args, { draft }) => {
    const crash = find(draft.operations.value, args.id)
    if (crash.archivedMs === 0) draft.operations.setCrash({ ...crash, archivedMs: draft.wallMs })
    return done(`${args.id} is archived`)
  }),
  writeCommand('crash archive-all', noArguments, (_args, { draft }) => {
    const fresh = [...draft.operations.value.crashes.values()].filter((crash) => crash.archivedMs === 0)
    for (const crash of fresh) draft.operations.setCrash({ ...crash, archivedMs: draft.wallMs })
    return done(`archived ${fresh.length}`, { archived: fresh.map((crash) => crash.id) })
  }),
  writeCommand('crash rm', idArgument, (args, { draft }) => {
    find(draft.operations.value, args.id)
    draft.operations.removeCrash(args.id)
    return done(`${args.id} is removed`)
  }),
  writeCommand('crash prune', z.object({ keep: numberArgument(z.number().min(0).max(36_500)) }), (args, { draft }) => {
    const beforeMs = draft.wallMs - args.keep * 86_400_000
    const old = [...draft.operations.value.crashes.values()].filter((crash) => crash.wallMs < beforeMs)
    for (const crash of old) draft.operations.removeCrash(crash.id)
    return done(`removed ${old.length}`, { removed: old.map((crash) => crash.id) })
  }),
]
