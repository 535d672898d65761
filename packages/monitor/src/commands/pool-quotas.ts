/** Quotas of pools: set, shown, and shared out among the primaries that ask. */
import { ClusterError, type Epoch, type PgId } from '@shoal/base'
import { featureQuotas, poolQuotaOf, withQuota } from '@shoal/cluster-map'
import type { PoolQuotaReply } from '@shoal/monitor-client'
import { z } from 'zod'
import { type ClusterView, type Command, done, readCommand, type WriteView, writeCommand } from './command.ts'
import { poolStats, requirePool } from './pool-rows.ts'
import { requireFeature, updateRequiredFeatures } from './required-features.ts'

const units = 'KMGTPE'

/** `10000`, `10K`, `10GiB`: powers of 1024, as Ceph takes them for bytes. */
function parseAmount(text: string, field: 'max_bytes' | 'max_objects'): number {
  const match = /^(\d+)(?:([KMGTPE])(?:i?B)?|B)?$/i.exec(text.trim())
  const amount =
    match === null ? Number.NaN : Number(match[1]) * 1024 ** (units.indexOf((match[2] ?? '').toUpperCase() || ' ') + 1)
  if (Number.isSafeInteger(amount)) return amount
  throw new ClusterError('EINVAL', `${field} is a whole number, not '${text}'`, {
    hint: `as in ${field === 'max_bytes' ? '100G' : '10000'}; 0 takes the quota away`,
  })
}

const setArguments = z.object({
  pool: z.string(),
  field: z.enum(['max_bytes', 'max_objects']),
  val: z.union([z.string(), z.number()]).transform(String),
})

function setQuota(args: z.output<typeof setArguments>, { draft }: WriteView) {
  const pool = requirePool(draft.map, args.pool)
  const amount = parseAmount(args.val, args.field)
  const before = poolQuotaOf(pool)
  const limits = { maxBytes: before?.maxBytes ?? 0, maxObjects: before?.maxObjects ?? 0 }
  const after = { ...limits, [args.field === 'max_bytes' ? 'maxBytes' : 'maxObjects']: amount }
  if (after.maxBytes !== limits.maxBytes || after.maxObjects !== limits.maxObjects) {
    if (amount > 0) requireFeature(draft.map, featureQuotas, 'keep quotas')
    draft.osd.setPool(withQuota(pool, { ...after, epoch: draft.osd.epoch }))
    updateRequiredFeatures(draft)
    draft.log('info', `pool '${pool.name}': quota ${args.field} ${amount === 0 ? 'taken away' : `set to ${amount}`}`)
  }
  return done(`pool '${pool.name}': ${args.field} ${amount === 0 ? 'is not limited' : `is ${amount}`}`)
}

function quotaReply(name: string, view: ClusterView): PoolQuotaReply {
  const pool = requirePool(view.map, name)
  const quota = poolQuotaOf(pool)
  const { bytes, objects } = poolStats(pool, view)
  return { name, maxBytes: quota?.maxBytes ?? 0, maxObjects: quota?.maxObjects ?? 0, bytes, objects }
}

const amount = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const use = z.object({ bytes: amount, objects: amount })
const epoch = z
  .number()
  .int()
  .min(0)
  .transform((value) => value as Epoch)

const shareArguments = z.object({
  /** Of the leader that the OSD knows. */
  term: amount,
  asks: z
    .array(
      z.object({
        pgId: z.string().transform((id) => id as PgId),
        since: epoch,
        quota: epoch,
        sequence: amount,
        used: use,
        held: use,
        wanted: use,
      }),
    )
    .max(1_024),
})

/** Of OSDs. A read, though it changes the ledger: it needs a leader that a quorum confirms, and nothing that is kept. */
function shareQuota(args: z.output<typeof shareArguments>, view: ClusterView) {
  const { quotas, map, nowMs, isLeader, quorum } = view
  if (quotas === undefined || !isLeader)
    throw new ClusterError('ENOTLEADER', 'only the leader shares out quotas', { retry: true })
  // To those who have not heard of this leader yet, or have heard of a later one: nothing.
  const answers = args.term === quorum.term ? args.asks.map((ask) => quotas.answer(ask, map, nowMs)) : []
  return done('', answers)
}

export const poolQuotaCommands: readonly Command[] = [
  writeCommand('osd pool set-quota', setArguments, setQuota),
  readCommand('osd pool get-quota', z.object({ pool: z.string() }), (args, view) =>
    done('', quotaReply(args.pool, view)),
  ),
  readCommand('osd pool quota-share', shareArguments, shareQuota),
]
