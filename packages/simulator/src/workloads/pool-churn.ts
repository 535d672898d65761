/**
 * Pools that are made, filled, emptied by deletion and made again under the same name. What was acknowledged in a pool
 * is there while the pool is; nothing of an earlier pool is ever seen in a later one of its name.
 */
import type { MonitorCommand } from '@shoal/monitor-client'
import type { FinalReader, History, Violation, Workload, WorkloadContext } from '../history.ts'
import { nextToken, outcomeOf, tokenBytes } from './record.ts'

export interface PoolChurnOptions {
  readonly objects?: number
  readonly pgNum?: number
  readonly size?: number
  readonly pauseMsMax?: number
}

const operationMs = 20_000

export function poolChurn(options: PoolChurnOptions = {}): Workload {
  return {
    name: 'pool-churn',
    async run(context) {
      if (context.command === undefined) return
      let name = ''
      while (!context.stopped()) {
        if (name === '') name = `churn-${context.process}-${context.history.events.length}`
        // What an unanswered command does, it may do later, and to the next pool of this name: so that is another's.
        if (!(await onePool(context, name, options))) name = ''
      }
    },
    check: checkPools,
  }
}

/** Whether every command was answered. */
async function onePool(context: WorkloadContext, name: string, options: PoolChurnOptions): Promise<boolean> {
  const { random } = context
  const size = options.size === undefined ? {} : { size: options.size }
  const create = { prefix: 'osd pool create', pool: name, pg_num: options.pgNum ?? 4, ...size }
  if (!(await command(context, name, create))) {
    await context.sleep(2_000)
    return false
  }
  const handle = context.client.pool(name)
  const objects = options.objects ?? 12
  const rounds = 1 + random.below(3)
  for (let round = 0; round < rounds && !context.stopped(); round++) {
    for (let i = 0; i < objects && !context.stopped(); i++) await useObject(context, handle, `o${i}`)
    await context.sleep(random.fraction() * (options.pauseMsMax ?? 5_000))
  }
  const remove = { prefix: 'osd pool rm', pool: name, pool2: name, sure: true }
  return command(context, name, remove)
}

/** Whether it was surely done. */
async function command(context: WorkloadContext, name: string, request: MonitorCommand): Promise<boolean> {
  const { history, nowMs, process } = context
  const event = history.begin(process, name, { kind: request.prefix, pool: name }, nowMs())
  try {
    await context.command?.(request)
    history.end(event, { kind: 'ok', value: undefined }, nowMs())
    return true
  } catch (error) {
    history.end(event, outcomeOf(error), nowMs())
    return false
  }
}

/** Reads the object, then writes it anew: two events, `see` and `put`. */
async function useObject(
  context: WorkloadContext,
  pool: ReturnType<WorkloadContext['client']['pool']>,
  object: string,
): Promise<void> {
  const { history, nowMs, process } = context
  const run = async (kind: string, token: number, work: () => Promise<unknown>): Promise<void> => {
    const event = history.begin(process, `${pool.name}/${object}`, { kind, pool: pool.name, token }, nowMs())
    try {
      history.end(event, { kind: 'ok', value: await work() }, nowMs())
    } catch (error) {
      history.end(event, outcomeOf(error), nowMs())
    }
  }
  await run('see', 0, async () => {
    const { results } = await pool.execute(object, [{ kind: 'read', offset: 0, length: 4096 }], {
      timeoutMs: operationMs,
    })
    return results[0]?.kind === 'data' ? results[0].data : undefined
  })
  const token = nextToken(context)
  await run('put', token, async () => {
    await pool.execute(object, [{ kind: 'write-full', data: tokenBytes(token, 64) }], { timeoutMs: operationMs })
    return undefined
  })
}

/** One client per name, one operation at a time: the history itself is the order. */
async function checkPools(history: History, _final: FinalReader): Promise<readonly Violation[]> {
  const violations: Violation[] = []
  /** By `POOL/OBJECT`: tokens of which one must be there; `undefined` among them: perhaps nothing. */
  const held = new Map<string, readonly (number | undefined)[]>()
  for (const event of history.events) {
    const { invoke, object, outcome } = event
    const ok = outcome?.kind === 'ok'
    if (invoke.kind === 'osd pool rm') {
      for (const key of held.keys()) {
        if (!key.startsWith(`${object}/`) || outcome?.kind === 'failed') continue
        held.set(key, ok ? [undefined] : [...(held.get(key) ?? []), undefined])
      }
    } else if (invoke.kind === 'put') {
      const token = invoke['token'] as number
      if (ok) held.set(object, [token])
      else if (outcome?.kind !== 'failed') held.set(object, [...(held.get(object) ?? [undefined]), token])
    } else if (invoke.kind === 'see') {
      const candidates = held.get(object) ?? [undefined]
      const seen = ok ? (outcome.value as Uint8Array) : undefined
      const missing = outcome?.kind === 'failed' && outcome.code === 'ENOENT'
      if (!ok && !missing) continue
      const fits = candidates.some((token) =>
        token === undefined || seen === undefined
          ? token === undefined && seen === undefined
          : Buffer.compare(seen, tokenBytes(token, 64)) === 0,
      )
      if (fits) continue
      const what = seen === undefined ? 'nothing' : `'${Buffer.from(seen.subarray(0, 12)).toString('latin1')}'`
      const message = `${object} holds ${what}, which none of ${candidates.length} possible writes put there`
      violations.push({ checker: 'pool-churn', object, message, details: event })
    }
  }
  return violations
}
