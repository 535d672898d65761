/** Commands that place a PG, or its primary, elsewhere than CRUSH says. */
import { ClusterError, type OsdId, type PgId, type PoolId, parsePgId } from '@shoal/base'
import { cleanUpmaps, type OsdMap, PlacementCache, weightOne } from '@shoal/cluster-map'
import { z } from 'zod'
import { requireOsd } from '../services/osd-lifecycle.ts'
import { osdThatCannotFollowPrimaries, setUpmapPrimary } from '../services/upmap-primaries.ts'
import { type Command, done, osdArgument, writeCommand } from './command.ts'
import { refuseOlder } from './required-features.ts'

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

function requireReplicated(map: OsdMap, pgId: PgId): void {
  const pool = map.pools.get(parsePgId(pgId)?.pool as PoolId)
  if (pool?.type === 'replicated') return
  throw new ClusterError('EOPNOTSUPP', `pool '${pool?.name}' is erasure-coded: its first shard is the primary`, {
    hint: 'only in replicated pools may another member be primary',
  })
}

/** EOPNOTSUPP while an OSD runs a version that would see another primary. */
export function requireAllFollowPrimaries(map: OsdMap): void {
  refuseOlder(osdThatCannotFollowPrimaries(map), 'follow upmap primaries')
}

const primaryChanges: readonly Command[] = [
  writeCommand('osd pg-upmap-primary', z.object({ pgid: z.string(), id: osdArgument }), ({ pgid, id }, { draft }) => {
    const { map, osd: change } = draft
    const pgId = requirePg(map, pgid)
    requireReplicated(map, pgId)
    const osd = requireOsd(map, id)
    requireAllFollowPrimaries(map)
    const placement = new PlacementCache(map)
    const { up } = placement.mapping(pgId)
    if (!up.includes(id)) {
      const hint = `one of ${up.join(', ')} may be its primary`
      throw new ClusterError('EINVAL', `osd.${id} is not in the up set of ${pgId}`, { hint })
    }
    if (placement.placedPrimary(pgId, undefined) === id) {
      if (map.upmapPrimaries?.has(pgId) === true) change.setUpmapPrimary(pgId, null)
      return done(`osd.${id} is the primary of ${pgId} without an exception`)
    }
    if (placement.placedPrimary(pgId, id) !== id) {
      const affinity = (osd.primaryAffinity / weightOne).toFixed(2)
      throw new ClusterError(
        'EINVAL',
        `osd.${id} is not to be primary of ${pgId}: its primary affinity is ${affinity}`,
        {
          hint: `shoal osd primary-affinity ${id} 1`,
        },
      )
    }
    setUpmapPrimary(change, pgId, id)
    return done(`osd.${id} is the primary of ${pgId}`)
  }),
  writeCommand('osd rm-pg-upmap-primary', z.object({ pgid: z.string() }), (args, { draft }) => {
    const pgId = requirePg(draft.map, args.pgid)
    if (draft.map.upmapPrimaries?.has(pgId) !== true) return done(`${pgId} has the primary that CRUSH gives it`)
    draft.osd.setUpmapPrimary(pgId, null)
    return done(`${pgId} has the primary that CRUSH gives it again`)
  }),
]

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

export const placementExceptions: readonly Command[] = [...placementChanges, ...primaryChanges]
