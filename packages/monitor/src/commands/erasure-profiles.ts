/** Erasure code profiles, and pools that are made from them (Ceph's `osd erasure-code-profile`). */
import { ClusterError } from '@shoal/base'
import {
  erasurePoolOptions,
  erasureProfileOf,
  featureShards,
  type OsdMap,
  type Pool,
  type PoolType,
} from '@shoal/cluster-map'
import { createErasureRule, ruleIdOf, ruleTypeErasure, ruleTypeReplicated } from '@shoal/crush'
import { type ErasureCodeProfile, formatErasureCodeProfile, parseErasureCodeProfile } from '@shoal/erasure'
import { z } from 'zod'
import { type Command, done, noArguments, readCommand, type WriteView, writeCommand } from './command.ts'
import { requireFeature } from './required-features.ts'

/** What `default` is while nobody has set it, as in Ceph. */
const defaultProfile = ['k=2', 'm=2']
const defaultName = 'default'

function profilesOf(map: OsdMap): ReadonlyMap<string, readonly string[]> {
  const set = map.erasureProfiles ?? new Map<string, readonly string[]>()
  if (set.has(defaultName)) return set
  const words = formatErasureCodeProfile(parseErasureCodeProfile(defaultProfile))
  return new Map<string, readonly string[]>([[defaultName, words], ...set])
}

function requireProfile(map: OsdMap, name: string): readonly string[] {
  const words = profilesOf(map).get(name)
  if (words !== undefined) return words
  throw new ClusterError('ENOENT', `there is no erasure code profile '${name}'`, {
    hint: `shoal osd erasure-code-profile set ${name} k=4 m=2`,
  })
}

/** What its profile decides about a new pool. */
interface ErasurePoolPlan {
  readonly dataShards: number
  readonly size: number
  readonly minSize: number
  readonly crushRule: number
  readonly options: ReadonlyMap<string, string>
}

/** With a rule of the pool's name, unless one is named. Throws ENOENT, and EINVAL for what a profile decides, EOPNOTSUPP while an OSD is older. */
export function prepareErasurePool(
  args: {
    readonly pool: string
    readonly erasure_code_profile?: string | undefined
    readonly rule?: string | undefined
    readonly size?: number | undefined
  },
  view: WriteView,
): ErasurePoolPlan {
  requireFeature(view.draft.map, featureShards, 'keep shards')
  const name = args.erasure_code_profile ?? defaultName
  const words = requireProfile(view.draft.map, name)
  const profile = parseErasureCodeProfile(words)
  const size = profile.k + profile.m
  if (args.size !== undefined && args.size !== size) {
    throw new ClusterError('EINVAL', `profile '${name}' has ${size} shards, not ${args.size}`, {
      hint: 'leave out size',
    })
  }
  return {
    dataShards: profile.k,
    size,
    minSize: Math.min(size, profile.k + 1),
    crushRule: ruleFor(args.rule ?? args.pool, args.rule === undefined, profile, view),
    options: erasurePoolOptions(name, words),
  }
}

function ruleFor(name: string, mayCreate: boolean, profile: ErasureCodeProfile, view: WriteView): number {
  const { draft } = view
  if (!mayCreate || ruleIdOf(draft.map.crush, name) !== undefined) return ruleOfType(draft.map, name, 'erasure')
  createRule(name, profile, view)
  return ruleIdOf(draft.map.crush, name) as number
}

/** ENOENT for a rule that is not there, EINVAL for one that is of no use: sets of shards keep their places, those of copies close up. */
export function ruleOfType(map: OsdMap, name: string, type: PoolType): number {
  const id = ruleIdOf(map.crush, name)
  if (id === undefined) {
    throw new ClusterError('ENOENT', `there is no CRUSH rule '${name}'`, { hint: 'shoal crush rule ls' })
  }
  const wanted = type === 'erasure' ? ruleTypeErasure : ruleTypeReplicated
  if (map.crush.rules[id]?.type === wanted) return id
  throw new ClusterError('EINVAL', `CRUSH rule '${name}' is not for ${type} pools`, {
    hint: `shoal crush rule create-${type === 'erasure' ? 'erasure' : 'replicated'}`,
  })
}

function createRule(name: string, profile: ErasureCodeProfile, { draft }: WriteView): void {
  const { crushRoot: root, crushFailureDomain: failureDomain, crushDeviceClass } = profile
  const deviceClass = crushDeviceClass === undefined ? {} : { deviceClass: crushDeviceClass }
  const rule = { name, root, failureDomain, ...deviceClass }
  draft.osd.setCrush(createErasureRule(draft.map.crush, rule, profile.k + profile.m))
}

/** As many of its shards hold the bytes of an object: 1 where every member has a copy. */
export function dataShardsOf(pool: Pool): number {
  const words = erasureProfileOf(pool)
  return words === undefined ? 1 : parseErasureCodeProfile(words.split(' ')).k
}

export function belowDataShards(minSize: number, dataShards: number): ClusterError {
  return new ClusterError('EINVAL', `min_size ${minSize} is less than the ${dataShards} shards that it takes to read`, {
    hint: `at least ${dataShards}; ${dataShards + 1} so that one more may be lost`,
  })
}

const setArguments = z.object({
  name: z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/, 'a profile name has letters, digits and - _ . only'),
  profile: z.array(z.string()).default([]),
  force: z.boolean().default(false),
})

export const erasureProfileCommands: readonly Command[] = [
  writeCommand('osd erasure-code-profile set', setArguments, ({ name, profile, force }, { draft }) => {
    const words = formatErasureCodeProfile(parseErasureCodeProfile(profile.length === 0 ? defaultProfile : profile))
    const present = profilesOf(draft.map).get(name)
    if (present?.join(' ') === words.join(' ') && draft.map.erasureProfiles?.has(name) === true) {
      return done(`profile '${name}' is set already`)
    }
    if (present !== undefined && draft.map.erasureProfiles?.has(name) === true && !force) {
      throw new ClusterError('EEXIST', `profile '${name}' is another one`, {
        hint: 'choose another name, or --force: pools that were made from it keep theirs',
      })
    }
    // OSDs are upgraded after monitors: a monitor that is older would forget it.
    requireFeature(draft.map, featureShards, 'keep shards')
    draft.osd.setErasureProfile(name, words)
    return done(`profile '${name}' set`)
  }),
  writeCommand('osd erasure-code-profile rm', z.object({ name: z.string() }), ({ name }, { draft }) => {
    if (draft.map.erasureProfiles?.has(name) !== true) return done(`there is no profile '${name}'`)
    const users = [...draft.map.pools.values()].filter((pool) => pool.options.get('erasure_code_profile') === name)
    if (users.length > 0) {
      throw new ClusterError('EBUSY', `profile '${name}' is used by pool '${users[0]?.name}'`, {
        hint: 'shoal pool ls',
      })
    }
    draft.osd.setErasureProfile(name, null)
    return done(`profile '${name}' removed`)
  }),
  readCommand('osd erasure-code-profile ls', noArguments, (_args, { map }) => done('', [...profilesOf(map).keys()])),
  readCommand('osd erasure-code-profile get', z.object({ name: z.string() }), ({ name }, { map }) =>
    done('', Object.fromEntries(requireProfile(map, name).map((word) => word.split('=') as [string, string]))),
  ),
  writeCommand(
    'osd crush rule create-erasure',
    z.object({ name: z.string(), profile: z.string().default(defaultName) }),
    ({ name, profile }, view) => {
      if (ruleIdOf(view.draft.map.crush, name) !== undefined) return done(`rule ${name} exists already`)
      createRule(name, parseErasureCodeProfile(requireProfile(view.draft.map, profile)), view)
      return done(`created rule ${name}`)
    },
  ),
]
