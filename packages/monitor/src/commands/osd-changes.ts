/** Commands that change the states of OSDs, cluster flags and placement exceptions. */
import { ClusterError, type OsdId, type PgId, parsePgId } from '@shoal/base'
import { cleanUpmaps, type OsdFlag, type OsdMap, osdFlags, PlacementCache, weightOne } from '@shoal/cluster-map'
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

function requirePg(map: OsdMap, text: string): PgId {
  const parsed = parsePgId(text)
  const pool = parsed === undefined ? undefined : map.pools.get(parsed.pool)
  if (parsed === undefined || pool === undefined || parsed.seed >= pool.pgNum) {
    throw new ClusterError('ENOENT', `there is no placement group '${text}'`, { hint: 'shoal pg ls' })
  }
  return text as PgId
}

/**
 * Whether CRUSH gives the same without the exception. EINVAL for one that is void: it would be dropped with the next
 * change of the map, which is better said at once.
 */
function doesNothing(map: OsdMap, pgId: PgId, change: Partial<Pick<OsdMap, 'upmap' | 'upmapItems'>>): boolean {
  const without = { ...map, upmap: new Map(), upmapItems: new Map() }
  const changed = { ...without, ...change }
  const raw = new PlacementCache(without).raw(pgId)
  const placed = new PlacementCache(changed).placed(pgId)
  if (placed.length === raw.length && placed.every((osd, at) => osd === raw[at])) return true
  const { upmap, upmapItems } = cleanUpmaps(changed)
  if (upmap.length === 0 && upmapItems.get(pgId) !== null) return false
  throw new ClusterError('EINVAL', `${pgId} may not be placed on ${placed.join(', ')}`, {
    hint: `CRUSH places it on ${raw.join(', ')}; no two may share a failure domain, and all must be in`,
  })
}

const placementChanges: readonly Command[] = [
  writeCommand(
    'osd pg-upmap-items',
    z.object({ pgid: z.string(), id: z.array(osdArgument).min(2) }),
    (args, { draft }) => {
      const pgId = requirePg(draft.map, args.pgid)
      if (args.id.length % 2 !== 0) {
        throw new ClusterError('EINVAL', 'OSDs come in pairs: FROM TO', {
          hint: `shoal osd pg-upmap-items ${pgId} 0 3`,
        })
      }
      const items: { from: OsdId; to: OsdId }[] = []
      for (let i = 0; i < args.id.length; i += 2) {
        const [from, to] = [args.id[i] as OsdId, args.id[i + 1] as OsdId]
        requireOsd(draft.map, from)
        requireOsd(draft.map, to)
        if (from === to) throw new ClusterError('EINVAL', `osd.${from} maps to itself`)
        items.push({ from, to })
      }
      if (doesNothing(draft.map, pgId, { upmapItems: new Map([[pgId, items]]) })) {
        return done(`${pgId}: nothing to exchange`)
      }
      draft.osd.setUpmapItems(pgId, items)
      return done(`${pgId}: ${items.map((item) => `${item.from} -> ${item.to}`).join(', ')}`)
    },
  ),
  writeCommand('osd rm-pg-upmap-items', z.object({ pgid: z.string() }), (args, { draft }) => {
    const pgId = requirePg(draft.map, args.pgid)
    draft.osd.setUpmapItems(pgId, null)
    return done(`${pgId} is placed by CRUSH again`)
  }),
  writeCommand('osd pg-upmap', z.object({ pgid: z.string(), id: z.array(osdArgument).min(1) }), (args, { draft }) => {
    const pgId = requirePg(draft.map, args.pgid)
    for (const id of args.id) requireOsd(draft.map, id)
    if (new Set(args.id).size !== args.id.length) throw new ClusterError('EINVAL', 'an OSD comes twice')
    if (doesNothing(draft.map, pgId, { upmap: new Map([[pgId, args.id]]) })) {
      return done(`${pgId} is placed there by CRUSH`)
    }
    draft.osd.setUpmap(pgId, args.id)
    return done(`${pgId} is placed on ${args.id.join(', ')}`)
  }),
  writeCommand('osd rm-pg-upmap', z.object({ pgid: z.string() }), (args, { draft }) => {
    const pgId = requirePg(draft.map, args.pgid)
    draft.osd.setUpmap(pgId, null)
    return done(`${pgId} is placed by CRUSH again`)
  }),
]

export const osdChanges: readonly Command[] = [...stateChanges, ...flagChanges, ...placementChanges]
