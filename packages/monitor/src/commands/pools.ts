/** Commands about pools. */
import { ClusterError, type PoolId } from '@shoal/base'
import {
  compressionOptions,
  compressionOptionValue,
  erasureOptions,
  isCompressionOption,
  type OsdMap,
  type Pool,
  type PoolType,
  poolByName,
} from '@shoal/cluster-map'
import { z } from 'zod'
import { autoscaleModes, autoscaleRows } from '../services/pg-autoscaler.ts'
import {
  copiesAllowed,
  copiesWith,
  growPool,
  osdThatCannotMerge,
  osdThatCannotSplit,
  withPgNumTarget,
} from '../services/pg-num.ts'
import {
  type ClusterView,
  type Command,
  consent,
  done,
  isSure,
  noArguments,
  numberArgument,
  readCommand,
  type WriteView,
  writeCommand,
} from './command.ts'
import { belowDataShards, dataShardsOf, prepareErasurePool, ruleOfType } from './erasure-profiles.ts'
import { innerOptions, poolRow, poolStats, requirePool } from './pool-rows.ts'
import { refuseOlder, updateRequiredFeatures } from './required-features.ts'

const sizeMax = 10
const pgNumMax = 65_536

const poolName = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/, 'a pool name has letters, digits and - _ . only')

const createArguments = z.object({
  pool: poolName,
  pg_num: numberArgument(z.number().int().min(1).max(pgNumMax)).optional(),
  pgp_num: numberArgument(z.number().int().min(1).max(pgNumMax)).optional(),
  pool_type: z.enum(['replicated', 'erasure']).default('replicated'),
  erasure_code_profile: z.string().optional(),
  rule: z.string().optional(),
  size: numberArgument(z.number().int().min(1).max(sizeMax)).optional(),
  min_size: numberArgument(z.number().int().min(1).max(32)).optional(),
  application: z.string().min(1).max(64).optional(),
})

function createPool(args: z.output<typeof createArguments>, view: WriteView) {
  const { draft, settings } = view
  const present = poolByName(draft.map, args.pool)
  if (present !== undefined) return done(`pool '${args.pool}' already exists`, poolRow(present, draft.map))
  const code = args.pool_type === 'erasure' ? prepareErasurePool(args, view) : undefined
  const size = code?.size ?? args.size ?? settings.osd_pool_default_size
  const minSize = args.min_size ?? code?.minSize ?? defaultMinSize(size, view)
  if (code !== undefined && minSize < code.dataShards) throw belowDataShards(minSize, code.dataShards)
  checkSizes(size, minSize)
  const pgNum = args.pg_num ?? settings.osd_pool_default_pg_num
  checkPgBudget(view, undefined, pgNum * size)
  const pool: Pool = {
    id: (draft.map.poolIdMax + 1) as PoolId,
    name: args.pool,
    type: args.pool_type,
    size,
    minSize,
    pgNum,
    pgpNum: Math.min(args.pgp_num ?? pgNum, pgNum),
    crushRule: code?.crushRule ?? chooseRule(draft.map, args.rule, 'replicated'),
    hashPool: true,
    created: draft.osd.epoch,
    lastChange: draft.osd.epoch,
    applications: args.application === undefined ? [] : [args.application],
    options: code?.options ?? new Map(),
  }
  draft.osd.setPool(pool)
  updateRequiredFeatures(draft)
  draft.log('info', `pool '${pool.name}' created with ${pgNum} PGs, size ${size}`)
  return done(`pool '${pool.name}' created`, poolRow(pool, draft.map))
}

function defaultMinSize(size: number, view: ClusterView): number {
  const wanted = view.settings.osd_pool_default_min_size
  return wanted > 0 ? Math.min(wanted, size) : size - Math.floor(size / 2)
}

function checkSizes(size: number, minSize: number): void {
  if (minSize > size) {
    throw new ClusterError('EINVAL', `min_size ${minSize} is more than size ${size}`, {
      hint: 'set size first, or a smaller min_size',
    })
  }
}

function checkPgBudget(view: ClusterView, replaced: Pool | undefined, copies: number): void {
  if (copiesAllowed(view.map, view.settings, replaced, copies)) return
  const { total, osds } = copiesWith(view.map, replaced, copies)
  const limit = view.settings.mon_max_pg_per_osd
  throw new ClusterError('ERANGE', `${total} PG copies on ${osds} OSDs are more than ${limit} on each`, {
    hint: 'fewer PGs (pg_num), or more OSDs',
  })
}

function chooseRule(map: OsdMap, name: string | undefined, type: PoolType): number {
  if (name !== undefined) return ruleOfType(map, name, type)
  const id = map.crush.rules.findIndex((rule) => rule?.type === 1)
  if (id < 0) {
    throw new ClusterError('ENOENT', 'there is no CRUSH rule for replicated pools', {
      hint: 'shoal crush rule create-replicated replicated_rule default host',
    })
  }
  return id
}

const removeArguments = z.object({ pool: z.string(), pool2: z.string().default(''), ...consent })

function removePool(args: z.output<typeof removeArguments>, view: WriteView) {
  const { draft } = view
  const pool = poolByName(draft.map, args.pool)
  if (pool === undefined) return done(`pool '${args.pool}' does not exist`)
  const hint = `shoal pool rm ${pool.name} ${pool.name} --yes-i-really-really-mean-it`
  if (args.pool2 !== args.pool || !isSure(args)) {
    throw new ClusterError('EPERM', `this destroys all data of pool '${pool.name}' for good`, { hint })
  }
  if (!view.settings.mon_allow_pool_delete) {
    throw new ClusterError('EPERM', 'pools may not be removed here', { hint: 'set mon_allow_pool_delete' })
  }
  if (pool.options.get('nodelete') === 'true') {
    throw new ClusterError('EPERM', `pool '${pool.name}' is protected`, {
      hint: `shoal pool set ${pool.name} nodelete false`,
    })
  }
  draft.osd.removePool(pool.id)
  updateRequiredFeatures(draft)
  draft.log('warn', `pool '${pool.name}' removed`)
  return done(`pool '${pool.name}' removed`)
}

const settable: readonly string[] = [
  'size',
  'min_size',
  'crush_rule',
  'pg_num',
  'pgp_num',
  'nodelete',
  'recovery_priority',
  'pg_autoscale_mode',
  'pg_autoscale_bias',
  'pg_num_min',
  'target_size_bytes',
  'target_size_ratio',
  ...compressionOptions,
]

const setArguments = z.object({
  ...consent,
  pool: z.string(),
  var: z.string(),
  val: z.union([z.string(), z.number(), z.boolean()]).transform(String),
})

function setPool(args: z.output<typeof setArguments>, view: WriteView) {
  const { draft } = view
  const pool = requirePool(draft.map, args.pool)
  if (args.var === 'pg_num') return setPgNum(pool, args, view)
  const changed = changedPool(pool, args.var, args.val, view)
  const newInterval =
    changed.size !== pool.size || changed.minSize !== pool.minSize || changed.crushRule !== pool.crushRule
  draft.osd.setPool(newInterval ? { ...changed, lastChange: draft.osd.epoch } : changed)
  draft.log('info', `pool '${pool.name}': ${args.var} set to ${args.val}`)
  return done(`pool '${pool.name}': ${args.var} is ${args.val}`)
}

/** The leader carries it out, as soon as the pool is clean (services/pg-num.ts); at once only for who insists. */
function setPgNum(pool: Pool, args: z.output<typeof setArguments>, view: WriteView) {
  const { draft } = view
  const target = integerOf(args.var, args.val, 1, pgNumMax)
  if (pool.type === 'erasure' && target !== pool.pgNum) {
    throw new ClusterError('EOPNOTSUPP', 'pg_num of an erasure-coded pool does not change yet', {
      hint: 'make a pool with as many as it should have, and copy its objects',
    })
  }
  if (target < pool.pgNum) return shrinkPool(pool, target, view)
  checkPgBudget(view, pool, target * pool.size)
  refuseOlder(osdThatCannotSplit(draft.map), 'split placement groups')
  draft.log('info', `pool '${pool.name}': pg_num set to ${target}`)
  if (isSure(args)) {
    growPool(draft.osd, withPgNumTarget(pool, target), target)
    return done(`pool '${pool.name}': pg_num is ${target}`)
  }
  draft.osd.setPool(withPgNumTarget(pool, target))
  return done(`pool '${pool.name}': pg_num will be ${target} as soon as its placement groups are active+clean`)
}

/** The leader carries it out, one PG after the other (services/pg-merges.ts). */
function shrinkPool(pool: Pool, target: number, { draft }: WriteView) {
  refuseOlder(osdThatCannotMerge(draft.map), 'merge placement groups')
  draft.osd.setPool(withPgNumTarget(pool, target))
  draft.log('info', `pool '${pool.name}': pg_num set to ${target}`)
  return done(`pool '${pool.name}': ${pool.pgNum} placement groups become ${target}, one after the other`)
}

function integerOf(name: string, value: string, min: number, max: number): number {
  const number = Number(value)
  if (value.trim() !== '' && Number.isInteger(number) && number >= min && number <= max) return number
  throw new ClusterError('EINVAL', `${name} must be an integer from ${min} to ${max}, not '${value}'`)
}

function changedPool(pool: Pool, name: string, value: string, view: WriteView): Pool {
  if (isCompressionOption(name)) return withOption(pool, name, compressionOptionValue(pool, name, value))
  const integer = (min: number, max: number): number => integerOf(name, value, min, max)
  switch (name) {
    case 'size': {
      if (pool.type === 'erasure') {
        throw new ClusterError('EPERM', `the number of shards of pool '${pool.name}' is fixed by its profile`, {
          hint: 'create another pool with another profile',
        })
      }
      const size = integer(1, sizeMax)
      if (size > pool.size) checkPgBudget(view, pool, pool.pgNum * size)
      return { ...pool, size, minSize: Math.min(pool.minSize, size) }
    }
    case 'min_size': {
      const minSize = integer(1, Math.max(sizeMax, pool.size))
      checkSizes(pool.size, minSize)
      const dataShards = dataShardsOf(pool)
      if (minSize < dataShards) throw belowDataShards(minSize, dataShards)
      return { ...pool, minSize }
    }
    case 'crush_rule':
      return { ...pool, crushRule: chooseRule(view.draft.map, value, pool.type) }
    case 'pgp_num':
      return { ...pool, pgpNum: integer(1, pool.pgNum) }
    case 'nodelete':
      if (!['true', 'false'].includes(value)) throw new ClusterError('EINVAL', 'nodelete is true or false')
      return { ...pool, options: new Map(pool.options).set(name, value) }
    case 'recovery_priority':
      return { ...pool, options: new Map(pool.options).set(name, String(integer(-10, 10))) }
    case 'pg_autoscale_mode':
      if (!autoscaleModes.some((mode) => mode === value)) {
        throw new ClusterError('EINVAL', `${name} is one of ${autoscaleModes.join(', ')}, not '${value}'`)
      }
      return { ...pool, options: new Map(pool.options).set(name, value) }
    case 'pg_num_min':
      return withNumber(pool, name, integer(0, pgNumMax))
    case 'target_size_bytes':
      return withNumber(pool, name, integer(0, Number.MAX_SAFE_INTEGER))
    case 'target_size_ratio':
    case 'pg_autoscale_bias': {
      const number = Number(value)
      if (value.trim() !== '' && number >= 0 && number <= 1_000) return withNumber(pool, name, number)
      throw new ClusterError('EINVAL', `${name} is a number from 0 to 1000, not '${value}'`)
    }
    default:
      throw new ClusterError('EINVAL', `pools have no setting '${name}'`, {
        hint: `settings: ${settable.join(', ')}`,
      })
  }
}

/** 0 takes it back. */
function withNumber(pool: Pool, name: string, value: number): Pool {
  return withOption(pool, name, value === 0 ? undefined : String(value))
}

/** Undefined takes the setting away. */
function withOption(pool: Pool, name: string, value: string | undefined): Pool {
  const options = new Map(pool.options)
  if (value === undefined) options.delete(name)
  else options.set(name, value)
  return { ...pool, options }
}

function poolSettings(pool: Pool, map: OsdMap): Readonly<Record<string, unknown>> {
  return {
    size: pool.size,
    min_size: pool.minSize,
    pg_num: pool.pgNum,
    pgp_num: pool.pgpNum,
    crush_rule: poolRow(pool, map).crushRule,
    application: pool.applications.join(','),
    ...Object.fromEntries([...pool.options].filter(([name]) => !innerOptions.has(name) && !erasureOptions.has(name))),
  }
}

const applicationArguments = z.object({ pool: z.string(), app: z.string().min(1).max(64) })

export const poolCommands: readonly Command[] = [
  writeCommand('osd pool create', createArguments, createPool),
  writeCommand('osd pool rm', removeArguments, removePool),
  writeCommand('osd pool delete', removeArguments, removePool),
  writeCommand('osd pool set', setArguments, setPool),
  writeCommand('osd pool rename', z.object({ srcpool: z.string(), destpool: poolName }), (args, { draft }) => {
    const pool = requirePool(draft.map, args.srcpool)
    if (poolByName(draft.map, args.destpool) !== undefined) {
      throw new ClusterError('EEXIST', `pool '${args.destpool}' exists already`, { hint: 'shoal pool ls' })
    }
    draft.osd.setPool({ ...pool, name: args.destpool })
    return done(`pool '${args.srcpool}' is now '${args.destpool}'`)
  }),
  writeCommand('osd pool application enable', applicationArguments, (args, { draft }) => {
    const pool = requirePool(draft.map, args.pool)
    if (!pool.applications.includes(args.app)) {
      draft.osd.setPool({ ...pool, applications: [...pool.applications, args.app] })
    }
    return done(`pool '${pool.name}' is used for ${args.app}`)
  }),
  writeCommand('osd pool application disable', applicationArguments, (args, { draft }) => {
    const pool = requirePool(draft.map, args.pool)
    draft.osd.setPool({ ...pool, applications: pool.applications.filter((app) => app !== args.app) })
    return done(`pool '${pool.name}' is not used for ${args.app} any more`)
  }),
  readCommand('osd pool ls', noArguments, (_args, { map }) =>
    done(
      '',
      [...map.pools.values()].map((pool) => poolRow(pool, map)),
    ),
  ),
  readCommand('osd pool get', z.object({ pool: z.string(), var: z.string().default('all') }), (args, { map }) => {
    const settings = poolSettings(requirePool(map, args.pool), map)
    if (args.var === 'all') return done('', settings)
    if (Object.hasOwn(settings, args.var)) return done('', { [args.var]: settings[args.var] })
    throw new ClusterError('ENOENT', `pool '${args.pool}' has no setting '${args.var}'`, {
      hint: `shoal pool get ${args.pool} all`,
    })
  }),
  readCommand('osd pool autoscale-status', noArguments, (_args, view) => done('', autoscaleRows(view))),
  readCommand('osd pool stats', z.object({ pool: z.string().optional() }), (args, view) => {
    const pools = args.pool === undefined ? [...view.map.pools.values()] : [requirePool(view.map, args.pool)]
    return done(
      '',
      pools.map((pool) => poolStats(pool, view)),
    )
  }),
]
