/** `shoal pool ...`: pools and their settings (Ceph's `osd pool`). */

import { ClusterError } from '@shoal/base'
import type { AutoscaleRow, PoolRow, PoolStatsRow } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { formatBytes, parseInteger } from '../output/units.ts'
import { addPoolSnapCommands } from './object-snap.ts'
import { addPoolQuotaCommands } from './pool-quota.ts'

/** Ceph's order: placement groups, then the kind of pool, then the profile of an erasure-coded one. */
function kindOf(words: readonly string[]): {
  readonly pgNum: string | undefined
  readonly type: string | undefined
  readonly profile: string | undefined
} {
  const [first] = words
  const [type, profile, ...more] = first === 'erasure' || first === 'replicated' ? words : words.slice(1)
  if (more.length > 0 || (type !== undefined && type !== 'erasure' && type !== 'replicated')) {
    throw new ClusterError('EINVAL', `'${words.join(' ')}' is no kind of pool`, {
      hint: 'for example: shoal pool create NAME 32 erasure PROFILE',
    })
  }
  if (profile !== undefined && type !== 'erasure') {
    throw new ClusterError('EINVAL', `a replicated pool has no profile '${profile}'`, {
      hint: 'for a CRUSH rule: --rule NAME',
    })
  }
  return { pgNum: first === type ? undefined : first, type, profile }
}

export function addPoolCommands(program: Command): void {
  const pool = program.command('pool').description('pools: named sets of objects with a rule for their copies')
  action(
    pool
      .command('create')
      .argument('<pool>')
      .argument('[words...]', '[PG-NUM, else osd_pool_default_pg_num] [erasure [PROFILE]]')
      .option('--size <n>', 'copies')
      .option('--min-size <n>', 'copies that must be there for I/O')
      .option('--rule <name>', 'CRUSH rule')
      .option('--application <name>', 'what it is for: block, object, file')
      .description('create a pool'),
    async (context, [name, ...rest], options) => {
      const { pgNum, type, profile } = kindOf(rest)
      const number = (option: string): number | undefined =>
        options[option] === undefined
          ? undefined
          : parseInteger(String(options[option]), option === 'size' ? '--size' : '--min-size', 1)
      const size = number('size')
      const minSize = number('minSize')
      context.done(
        await context.command({
          prefix: 'osd pool create',
          pool: name,
          ...(pgNum === undefined ? {} : { pg_num: parseInteger(pgNum, 'pg-num', 1) }),
          ...(type === undefined ? {} : { pool_type: type }),
          ...(profile === undefined ? {} : { erasure_code_profile: profile }),
          ...(size === undefined ? {} : { size }),
          ...(minSize === undefined ? {} : { min_size: minSize }),
          ...(options['rule'] === undefined ? {} : { rule: options['rule'] }),
          ...(options['application'] === undefined ? {} : { application: options['application'] }),
        }),
      )
    },
  )
  action(pool.command('ls').description('pools'), async (context) => {
    const rows = (await context.command({ prefix: 'osd pool ls' })).data as readonly PoolRow[]
    context.print(rows, () =>
      formatTable(
        [
          { title: 'ID', cell: (row) => row.id, align: 'right' },
          { title: 'NAME', cell: (row) => row.name },
          { title: 'TYPE', cell: (row) => row.type },
          { title: 'SIZE', cell: (row) => row.size, align: 'right' },
          { title: 'MIN_SIZE', cell: (row) => row.minSize, align: 'right' },
          { title: 'PGS', cell: (row) => row.pgNum, align: 'right' },
          { title: 'RULE', cell: (row) => row.crushRule },
          { title: 'APPLICATIONS', cell: (row) => row.applications.join(',') || '-' },
        ],
        rows,
      ),
    )
  })
  action(
    pool
      .command('rm')
      .argument('<pool>')
      .argument('[pool-again]')
      .option('--yes-i-really-really-mean-it', 'needed: all its objects go')
      .description('remove a pool and everything in it; its name comes twice'),
    async (context, [name, again], options) =>
      context.done(
        await context.command({
          prefix: 'osd pool rm',
          pool: name,
          pool2: again ?? '',
          sure: options['yesIReallyReallyMeanIt'] === true,
        }),
      ),
  )
  action(
    pool
      .command('set')
      .argument('<pool>')
      .argument('<name>')
      .argument('<value>')
      .option('--yes-i-really-mean-it', 'pg_num: split at once, even while copies are missing or on their way')
      .description('change a setting: size, min_size, crush_rule, pg_num, ...'),
    async (context, [name, setting, value], options) =>
      context.done(
        await context.command({
          prefix: 'osd pool set',
          pool: name,
          var: setting,
          val: value,
          ...(options['yesIReallyMeanIt'] === true ? { sure: true } : {}),
        }),
      ),
  )
  action(
    pool
      .command('get')
      .argument('<pool>')
      .argument('[name]', 'a setting, or all of them', 'all')
      .description('read settings'),
    async (context, [name, setting]) => {
      const data = (await context.command({ prefix: 'osd pool get', pool: name, var: setting ?? 'all' })).data as object
      context.print(data, () =>
        formatPairs(
          Object.entries(data).map(([key, value]) => [`${key}:`, String(value) === '' ? '-' : String(value)]),
        ),
      )
    },
  )
  addPoolQuotaCommands(pool)
  action(
    pool.command('autoscale-status').description('how many placement groups each pool has and should have'),
    async (context) => {
      const rows = (await context.command({ prefix: 'osd pool autoscale-status' })).data as readonly AutoscaleRow[]
      context.print(rows, () =>
        formatTable(
          [
            { title: 'POOL', cell: (row) => row.name },
            { title: 'SIZE', cell: (row) => formatBytes(row.bytes), align: 'right' },
            { title: 'TARGET SIZE', cell: (row) => (row.targetBytes > 0 ? formatBytes(row.targetBytes) : '-') },
            { title: 'RATE', cell: (row) => row.size, align: 'right' },
            { title: 'RAW CAPACITY', cell: (row) => formatBytes(row.capacityBytes), align: 'right' },
            { title: 'RATIO', cell: (row) => row.ratio.toFixed(4), align: 'right' },
            { title: 'TARGET RATIO', cell: (row) => (row.targetRatio > 0 ? row.targetRatio.toFixed(4) : '-') },
            { title: 'BIAS', cell: (row) => row.bias, align: 'right' },
            { title: 'PG_NUM', cell: (row) => row.pgNum, align: 'right' },
            { title: 'NEW PG_NUM', cell: (row) => (row.verdict === 'fine' ? '-' : row.wanted), align: 'right' },
            { title: 'AUTOSCALE', cell: (row) => row.mode },
          ],
          rows,
        ),
      )
    },
  )
  action(
    pool.command('stats').argument('[pool]').description('objects, bytes and client I/O of pools'),
    async (context, [name]) => {
      const rows = (await context.command({ prefix: 'osd pool stats', ...(name === undefined ? {} : { pool: name }) }))
        .data as readonly PoolStatsRow[]
      context.print(rows, () =>
        formatTable(
          [
            { title: 'NAME', cell: (row) => row.name },
            { title: 'OBJECTS', cell: (row) => row.objects, align: 'right' },
            { title: 'STORED', cell: (row) => formatBytes(row.bytes), align: 'right' },
            { title: 'USED', cell: (row) => formatBytes(row.usedBytes), align: 'right' },
            { title: 'DEGRADED', cell: (row) => row.degradedCopies, align: 'right' },
            { title: 'MISPLACED', cell: (row) => row.misplacedCopies, align: 'right' },
            { title: 'UNFOUND', cell: (row) => row.unfoundObjects, align: 'right' },
            { title: 'RD/S', cell: (row) => Math.round(row.readOpsPerSecond), align: 'right' },
            { title: 'WR/S', cell: (row) => Math.round(row.writeOpsPerSecond), align: 'right' },
          ],
          rows,
        ),
      )
    },
  )
  addPoolSnapCommands(pool)
}
