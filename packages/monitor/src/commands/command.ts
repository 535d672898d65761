/**
 * What a command is: a prefix, a schema of its arguments, and a handler that reads a view of the cluster or writes to a
 * draft. Handlers are synchronous and pure; the daemon sees to quorum, retries and replies.
 */
import { ClusterError, type OsdId } from '@shoal/base'
import type { OsdMap, PlacementCache } from '@shoal/cluster-map'
import type { CommandReply } from '@shoal/monitor-client'
import { z } from 'zod'
import type { MonitorSettings } from '../config.ts'
import type { Balancer } from '../services/balancer.ts'
import type { FailureDetector } from '../services/failure-detector.ts'
import type { QuotaLedger } from '../services/quota-ledger.ts'
import type { Statistics } from '../services/statistics.ts'
import type { ClusterState } from '../state/cluster-state.ts'
import type { Operations } from '../state/operations.ts'
import type { ProposalDraft } from '../state/proposal-draft.ts'

export interface QuorumView {
  /** Raft id; 0 while there is none. */
  readonly leaderId: number
  readonly term: number
  /** Who the leader has heard from lately, itself included; as far as the answering monitor knows. */
  readonly members: readonly number[]
}

/** What a handler may look at. */
export interface ClusterView {
  readonly state: ClusterState
  /** In a write, with the changes that the same proposal carries already. */
  readonly map: OsdMap
  /** The same. */
  readonly operations: Operations
  readonly settings: MonitorSettings
  readonly statistics: Statistics
  readonly failures: FailureDetector
  /** Of the leader. */
  readonly balancer: Balancer | undefined
  /** Only the leader shares out quotas. */
  readonly quotas: QuotaLedger | undefined
  readonly quorum: QuorumView
  /** Monotonic. */
  readonly nowMs: number
  readonly wallMs: number
  /** Only the leader has statistics. */
  readonly isLeader: boolean
  placement(): PlacementCache
}

export interface WriteView extends ClusterView {
  readonly draft: ProposalDraft
}

export type Command =
  | {
      readonly prefix: string
      readonly kind: 'read'
      readonly run: (args: unknown, view: ClusterView) => CommandReply
    }
  | {
      readonly prefix: string
      readonly kind: 'write'
      readonly run: (args: unknown, view: WriteView) => CommandReply
    }

export function readCommand<Schema extends z.ZodType>(
  prefix: string,
  schema: Schema,
  run: (args: z.output<Schema>, view: ClusterView) => CommandReply,
): Command {
  return { prefix, kind: 'read', run: (args, view) => run(checked(prefix, schema, args), view) }
}

export function writeCommand<Schema extends z.ZodType>(
  prefix: string,
  schema: Schema,
  run: (args: z.output<Schema>, view: WriteView) => CommandReply,
): Command {
  return { prefix, kind: 'write', run: (args, view) => run(checked(prefix, schema, args), view) }
}

function checked<Schema extends z.ZodType>(prefix: string, schema: Schema, args: unknown): z.output<Schema> {
  const result = schema.safeParse(args)
  if (result.success) return result.data
  throw new ClusterError('EINVAL', `${prefix}: ${result.error.issues.map(describeIssue).join('; ')}`)
}

type Issue = z.core.$ZodIssue

/** What is wrong with one argument, in our words: the schema's own are written for programmers. */
function describeIssue(issue: Issue): string {
  const name = issue.path.filter((part) => typeof part === 'string').join('.') || 'arguments'
  switch (issue.code) {
    case 'too_big':
      return `${name} is at most ${issue.maximum}`
    case 'too_small':
      return issue.origin === 'array'
        ? `${name} takes at least ${issue.minimum} words`
        : `${name} is at least ${issue.minimum}`
    case 'invalid_value':
      return `${name} is one of ${issue.values.map(String).join(', ')}`
    case 'invalid_type':
      return `${name} must be ${issue.expected === 'int' ? 'a whole number' : `a ${issue.expected}`}`
    case 'invalid_union': {
      // The alternative that came nearest says how it is written.
      const inner = issue.errors.flat().find(({ code }) => code === 'invalid_format')
      return inner === undefined ? `${name} is not understood` : `${name}: ${inner.message}`
    }
    default:
      return `${name}: ${issue.message}`
  }
}

/** A number, or its digits. Nothing else: an empty word, or what JSON makes of a broken number, is not zero. */
export function numberArgument(schema: z.ZodNumber): z.ZodPreprocess<z.ZodNumber> {
  return z.preprocess(
    (value) => (typeof value === 'string' && value.trim() !== '' ? Number(value) : value),
    schema,
  ) as unknown as z.ZodPreprocess<z.ZodNumber>
}

export const done = (status: string, data?: unknown): CommandReply => ({ status, data })

export const noArguments: z.ZodObject = z.object({})

/** `3`, `"3"` or `"osd.3"`. */
export const osdArgument: z.ZodType<OsdId> = z
  .union([z.number(), z.string().regex(/^(osd\.)?\d+$/, 'not an OSD: write 3 or osd.3')])
  .transform((value) => Number(typeof value === 'number' ? value : value.replace('osd.', '')))
  .pipe(z.number().int().min(0).max(1_000_000))
  .transform((value) => value as OsdId) as unknown as z.ZodType<OsdId>

export const osdsArgument: z.ZodType<readonly OsdId[]> = z.union([
  z.array(osdArgument).min(1),
  osdArgument.transform((id) => [id]),
]) as unknown as z.ZodType<readonly OsdId[]>

export const fraction: z.ZodPreprocess<z.ZodNumber> = numberArgument(z.number().min(0).max(1))

/** Words of consent under any of their names. */
export const consent: {
  readonly sure: z.ZodOptional<z.ZodBoolean>
  readonly yes_i_really_mean_it: z.ZodOptional<z.ZodBoolean>
  readonly yes_i_really_really_mean_it: z.ZodOptional<z.ZodBoolean>
} = {
  sure: z.boolean().optional(),
  yes_i_really_mean_it: z.boolean().optional(),
  yes_i_really_really_mean_it: z.boolean().optional(),
}

export function isSure(args: { readonly [K in keyof typeof consent]?: boolean | undefined }): boolean {
  return args.sure === true || args.yes_i_really_mean_it === true || args.yes_i_really_really_mean_it === true
}

/** `{root: 'default'}` or `['root=default', 'host=a']`. */
export const locationArgument: z.ZodType<Readonly<Record<string, string>>> = z.union([
  z.record(z.string(), z.string()),
  z
    .array(z.string().regex(/^[^=]+=[^=]+$/, 'write TYPE=NAME'))
    .transform((words) => Object.fromEntries(words.map((word) => word.split('=') as [string, string]))),
]) as unknown as z.ZodType<Readonly<Record<string, string>>>
