/**
 * How the quotas of pools are shared out among the primaries of their placement groups. In the leader's memory only: a new
 * leader is told all of it again.
 *
 * Invariant 1: what all placement groups of a pool hold is never more than the quota, but for what was there before it.
 * Invariant 2: nothing is granted before every placement group of the pool has told this leader what it holds under this
 *              very quota. (Counter-examples: a leader that takes what it has not heard of for nothing; a primary that has
 *              not seen the map with the quota, and still writes without one.)
 * Invariant 3: of one placement group the ask of the later interval counts, then the later one. What was granted and is not
 *              told of in the next ask has not arrived, and never will: only the answer to the last ask is taken.
 *
 * Invariant 4: a placement group that was merged into another holds its share until every one of the pool has told since
 *              then: what it used is in what the other uses by that time, and not before.
 *
 * Who asks gets more than it wants while there is plenty, so that most writes need not wait for a question to the monitors;
 * close to the quota it gets exactly what it wants.
 */
import { type PgId, type PoolId, parsePgId, pgPool, pgSeed } from '@shoal/base'
import {
  lastMerge,
  type OsdMap,
  type Pool,
  type PoolQuota,
  type PoolUse,
  poolQuotaOf,
  type QuotaAnswer,
  type QuotaAsk,
} from '@shoal/cluster-map'

/** Of what is free, each placement group gets its share of one in so many, on top of what it wants. */
const spareParts = 4
/** Less is not worth holding. */
const spareBytesMin = 64 * 1024
/** Who holds more than it uses tells so each second. Not heard of for so long: nobody waits for what it could give back. */
const silentMs = 5_000

interface Entry {
  readonly ask: QuotaAsk
  readonly answer: QuotaAnswer
  readonly held: PoolUse
  readonly heardMs: number
}

interface PoolLedger {
  readonly quota: PoolQuota
  readonly entries: Map<PgId, Entry>
  /** All have told since the merge of this epoch. */
  toldSince: number
  /** Some of the entries were merged into others: what they use may count twice. */
  mixed: boolean
  /** Sum over the entries. */
  held: { bytes: number; objects: number }
  /** When somebody was refused, what was used then. */
  refusedAt: PoolUse | undefined
}

export class QuotaLedger {
  private readonly pools = new Map<PoolId, PoolLedger>()

  answer(ask: QuotaAsk, map: OsdMap, nowMs: number): QuotaAnswer {
    const { pgId, since, sequence } = ask
    const wait: QuotaAnswer = { pgId, since, sequence, verdict: 'wait', held: ask.held }
    const pool = map.pools.get(pgPool(pgId))
    const quota = poolQuotaOf(pool)
    // One of us knows a later map.
    if (pool === undefined || quota === undefined || quota.epoch !== ask.quota || !isOf(pool, pgId)) return wait
    const ledger = this.ledgerOf(pool, quota)
    const before = ledger.entries.get(pgId)
    if (before !== undefined) {
      if (since < before.ask.since) return wait
      if (since === before.ask.since && sequence < before.ask.sequence) return wait
      if (since === before.ask.since && sequence === before.ask.sequence) return before.answer
    }
    this.set(ledger, { ask, answer: wait, held: ask.held, heardMs: nowMs })
    const answer = this.decide(ledger, pool, ask, nowMs, countTold(ledger, pool))
    this.set(ledger, { ask, answer, held: answer.held, heardMs: nowMs })
    return answer
  }

  /** What the placement groups use, as far as they have told; undefined for a pool that nobody was refused in since it shrank. */
  isFull(pool: PoolId): boolean {
    const ledger = this.pools.get(pool)
    if (ledger?.refusedAt === undefined) return false
    const used = usedOf(ledger)
    return used.bytes >= ledger.refusedAt.bytes && used.objects >= ledger.refusedAt.objects
  }

  /** Forgets pools whose quota is another, or none, by now. */
  prune(map: OsdMap): void {
    for (const [id, { quota }] of this.pools) {
      if (poolQuotaOf(map.pools.get(id))?.epoch !== quota.epoch) this.pools.delete(id)
    }
  }

  private ledgerOf(pool: Pool, quota: PoolQuota): PoolLedger {
    let ledger = this.pools.get(pool.id)
    if (ledger?.quota.epoch !== quota.epoch) {
      ledger = {
        quota,
        entries: new Map(),
        toldSince: 0,
        mixed: false,
        held: { bytes: 0, objects: 0 },
        refusedAt: undefined,
      }
      this.pools.set(pool.id, ledger)
    }
    return ledger as PoolLedger
  }

  private set(ledger: PoolLedger, entry: Entry): void {
    const { pgId } = entry.ask
    const before = ledger.entries.get(pgId)?.held
    ledger.held.bytes += entry.held.bytes - (before?.bytes ?? 0)
    ledger.held.objects += entry.held.objects - (before?.objects ?? 0)
    ledger.entries.set(pgId, entry)
  }

  private decide(ledger: PoolLedger, pool: Pool, ask: QuotaAsk, nowMs: number, told: number): QuotaAnswer {
    const { pgId, since, sequence, held, wanted } = ask
    const answer = (verdict: QuotaAnswer['verdict'], more: PoolUse = held): QuotaAnswer => ({
      pgId,
      since,
      sequence,
      verdict,
      held: more,
    })
    const { maxBytes, maxObjects } = ledger.quota
    // Who wants less than it holds frees nothing by that: it holds it until it tells that it does not.
    const bytes = maxBytes === 0 ? 0 : Math.max(0, wanted.bytes - held.bytes)
    const objects = maxObjects === 0 ? 0 : Math.max(0, wanted.objects - held.objects)
    if (bytes === 0 && objects === 0) return answer('granted')
    // Invariant 2.
    if (told < pool.pgNum) return answer('wait')
    const freeBytes = maxBytes === 0 ? 0 : maxBytes - ledger.held.bytes
    const freeObjects = maxObjects === 0 ? 0 : maxObjects - ledger.held.objects
    if ((bytes > 0 && bytes > freeBytes) || (objects > 0 && objects > freeObjects)) {
      if (ledger.mixed || mayComeBack(ledger, ask, nowMs)) return answer('wait')
      ledger.refusedAt = usedOf(ledger)
      return answer('refused')
    }
    const parts = spareParts * pool.pgNum
    const spareBytes = Math.floor((freeBytes - bytes) / parts)
    const spareObjects = Math.max(0, Math.floor((freeObjects - objects) / parts))
    return answer('granted', {
      bytes: Math.max(held.bytes, wanted.bytes) + (spareBytes < spareBytesMin ? 0 : spareBytes),
      objects: Math.max(held.objects, wanted.objects) + spareObjects,
    })
  }
}

/**
 * How many that are there have told. What a placement group told before it was merged into another is not told of one that
 * has its seed since; it holds its share all the same (invariant 4), until all have told: a merge begins an interval of all.
 */
function countTold(ledger: PoolLedger, pool: Pool): number {
  const { entries } = ledger
  const last = lastMerge(pool)
  if (last === undefined || ledger.toldSince >= last.epoch) return entries.size
  const before = [...entries.values()].filter(({ ask }) => ask.since < last.epoch)
  const old = before.filter(({ ask }) => pgSeed(ask.pgId) >= pgSeed(last.source))
  const told = entries.size - old.length
  if (told < pool.pgNum || before.length > old.length) {
    ledger.mixed = old.length > 0
    return told
  }
  for (const { ask, held } of old) {
    entries.delete(ask.pgId)
    ledger.held.bytes -= held.bytes
    ledger.held.objects -= held.objects
  }
  ledger.mixed = false
  ledger.toldSince = last.epoch
  return told
}

function isOf(pool: Pool, pgId: PgId): boolean {
  const parsed = parsePgId(pgId)
  return parsed !== undefined && parsed.seed < pool.pgNum
}

function usedOf(ledger: PoolLedger): PoolUse {
  let bytes = 0
  let objects = 0
  for (const { ask } of ledger.entries.values()) {
    bytes += ask.used.bytes
    objects += ask.used.objects
  }
  return { bytes, objects }
}

/** Whether it would fit if everybody who is there gave back what it does not use. */
function mayComeBack(ledger: PoolLedger, ask: QuotaAsk, nowMs: number): boolean {
  let { bytes, objects } = ask.wanted
  for (const [pgId, entry] of ledger.entries) {
    if (pgId === ask.pgId) continue
    const least = nowMs - entry.heardMs < silentMs ? entry.ask.used : entry.held
    bytes += least.bytes
    objects += least.objects
  }
  const { maxBytes, maxObjects } = ledger.quota
  const bytesFit = maxBytes === 0 || ask.wanted.bytes <= ask.held.bytes || bytes <= maxBytes
  return bytesFit && (maxObjects === 0 || ask.wanted.objects <= ask.held.objects || objects <= maxObjects)
}
