/** Commands that change the states of OSDs and cluster flags. */
import { ClusterError, type OsdId } from '@shoal/base'
import { type OsdFlag, type OsdMap, osdFlags, weightOne } from '@shoal/cluster-map'
import { z } from 'zod'
import {
  destroyOsd,
  markDown,
  markIn,
  markOut,
  registerOsd,
  removeOsd,
  requireDown,
  requireOsd,
} from '../services/osd-lifecycle.ts'
import {
  type Command,
  consent,
  done,
  fraction,
  isSure,
  osdArgument,
  osdsArgument,
  type WriteView,
  writeCommand,
} from './command.ts'
import { forgetStoreKeys } from './config-keys.ts'

const ids = z.object({ ids: osdsArgument })
const oneOsd = z.object({ id: osdArgument })

/** Runs a change for each OSD and says which of them it changed. */
function forEach(prefix: string, did: string, change: (view: WriteView, id: OsdId) => boolean): Command {
  return writeCommand(prefix, ids, (args, view) => {
    const changed = args.ids.filter((id) => change(view, id))
    const names = changed.map((id) => `osd.${id}`).join(', ')
    return done(changed.length === 0 ? `nothing to do: ${did} already` : `${did} ${names}`, { changed })
  })
}

const stateChanges: readonly Command[] = [
  writeCommand('osd new', z.object({ uuid: z.string().min(1).max(64), id: osdArgument.optional() }), (args, view) => {
    const id = registerOsd(view.draft, args.uuid, args.id)
    return done(`osd.${id} is registered`, { osdid: id, id })
  }),
  forEach('osd in', 'marked in', ({ draft }, id) => markIn(draft, requireOsd(draft.map, id))),
  forEach('osd out', 'marked out', ({ draft }, id) => markOut(draft, requireOsd(draft.map, id), false)),
  forEach('osd down', 'marked down', ({ draft }, id) => {
    const osd = requireOsd(draft.map, id)
    markDown(draft, osd, 'an operator said so')
    return osd.up
  }),
  forEach('osd rm', 'removed', ({ draft }, id) => {
    const osd = requireOsd(draft.map, id)
    requireDown(osd, 'remove')
    if (osd.weight > 0) {
      throw new ClusterError('EBUSY', `osd.${id} is still in: its data has not moved to others`, {
        hint: `shoal osd out ${id}, wait until shoal status shows all PGs active+clean`,
      })
    }
    removeOsd(draft, osd)
    forgetStoreKeys(draft, osd.uuid)
    return true
  }),
  writeCommand('osd reweight', oneOsd.extend({ weight: fraction }), (args, { draft }) => {
    const osd = requireOsd(draft.map, args.id)
    draft.osd.setOsd({ ...osd, weight: Math.round(args.weight * weightOne), autoOut: false })
    return done(`reweighted osd.${args.id} to ${args.weight}`)
  }),
  writeCommand('osd primary-affinity', oneOsd.extend({ weight: fraction }), (args, { draft }) => {
    const osd = requireOsd(draft.map, args.id)
    draft.osd.setOsd({ ...osd, primaryAffinity: Math.round(args.weight * weightOne) })
    return done(`osd.${args.id} is primary with affinity ${args.weight}`)
  }),
  writeCommand('osd lost', oneOsd.extend(consent), (args, { draft }) => {
    const osd = requireOsd(draft.map, args.id)
    requireSure(args, `declaring osd.${args.id} lost may lose the newest writes for good`, `shoal osd lost ${args.id}`)
    requireDown(osd, 'declare lost')
    draft.osd.setOsd({ ...osd, lostAt: osd.downAt })
    draft.log('warn', `osd.${args.id} declared lost`)
    return done(`osd.${args.id} is lost`)
  }),
  writeCommand('osd destroy', oneOsd.extend(consent), (args, { draft }) => {
    const osd = requireOsd(draft.map, args.id)
    requireSure(args, `osd.${args.id} and all its data will be given up`, `shoal osd destroy ${args.id}`)
    destroyOsd(draft, osd)
    forgetStoreKeys(draft, osd.uuid)
    return done(`destroyed osd.${args.id}: a new store may take the id`)
  }),
  writeCommand('osd purge', oneOsd.extend(consent), (args, { draft }) => {
    const osd = requireOsd(draft.map, args.id)
    requireSure(args, `osd.${args.id}, its data and its place in CRUSH will be given up`, `shoal osd purge ${args.id}`)
    removeOsd(draft, osd)
    forgetStoreKeys(draft, osd.uuid)
    return done(`purged osd.${args.id}`)
  }),
]

function requireSure(args: Parameters<typeof isSure>[0], what: string, command: string): void {
  if (!isSure(args)) throw new ClusterError('EPERM', what, { hint: `${command} --yes-i-really-mean-it` })
}

const flagNames = [...osdFlags, 'pause'] as const
const flagArgument = z.object({ key: z.enum(flagNames) })

function flagsOf(key: (typeof flagNames)[number]): readonly OsdFlag[] {
  return key === 'pause' ? ['pauserd', 'pausewr'] : [key]
}

function withFlags(map: OsdMap, change: (flags: Set<OsdFlag>) => void): ReadonlySet<OsdFlag> {
  const flags = new Set(map.flags)
  change(flags)
  // In the order of the table, whatever the order of the commands was.
  return new Set(osdFlags.filter((flag) => flags.has(flag)))
}

/** Above it OSDs stop recovery by themselves (`osd_failsafe_full_ratio`): a full ratio there would never be reached. */
const fullRatioMax = 0.97

/** Ceph takes them in any order and warns; then backfill fills disks that clients may not write to. */
function checkRatios(
  { nearfull, backfillfull, full }: { readonly nearfull: number; readonly backfillfull: number; readonly full: number },
  which: 'nearfull' | 'backfillfull' | 'full',
): void {
  if (nearfull <= 0 || full > fullRatioMax) {
    throw new ClusterError('ERANGE', `the ${which} ratio lies above 0 and is at most ${fullRatioMax}`)
  }
  if (nearfull < backfillfull && backfillfull < full) return
  throw new ClusterError(
    'EINVAL',
    `nearfull ${nearfull} < backfillfull ${backfillfull} < full ${full} would not hold`,
    { hint: 'to raise all: set full first, then backfillfull, then nearfull; to lower them, the other way round' },
  )
}

const flagChanges: readonly Command[] = [
  writeCommand('osd set', flagArgument, (args, { draft }) => {
    const wanted = flagsOf(args.key)
    if (wanted.every((flag) => draft.map.flags.has(flag))) return done(`${args.key} is set already`)
    draft.osd.setFlags(withFlags(draft.map, (flags) => wanted.forEach((flag) => flags.add(flag))))
    draft.log('info', `flag ${args.key} set`)
    return done(`${args.key} is set`)
  }),
  writeCommand('osd unset', flagArgument, (args, { draft }) => {
    const wanted = flagsOf(args.key)
    if (!wanted.some((flag) => draft.map.flags.has(flag))) return done(`${args.key} is not set`)
    draft.osd.setFlags(withFlags(draft.map, (flags) => wanted.forEach((flag) => flags.delete(flag))))
    draft.log('info', `flag ${args.key} unset`)
    return done(`${args.key} is unset`)
  }),
  ...(['nearfull', 'backfillfull', 'full'] as const).map((which) =>
    writeCommand(`osd set-${which}-ratio`, z.object({ ratio: fraction }), (args, { draft }) => {
      const { nearfullRatio: nearfull, backfillfullRatio: backfillfull, fullRatio: full } = draft.map
      const ratios = { nearfull, backfillfull, full, [which]: args.ratio }
      checkRatios(ratios, which)
      draft.osd.setRatios(ratios)
      draft.log('info', `${which} ratio set to ${args.ratio}`)
      return done(`${which} ratio is ${args.ratio}`)
    }),
  ),
]

export const osdChanges: readonly Command[] = [...stateChanges, ...flagChanges]
