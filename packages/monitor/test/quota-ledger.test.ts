/** Shares of a quota never add up to more than it, whoever asks, whatever is lost, and whoever leads. */
import { type Epoch, type PoolId, Prng, pgId } from '@shoal/base'
import { createOsdMap, type OsdMap, type Pool, type QuotaAnswer, type QuotaAsk, withQuota } from '@shoal/cluster-map'
import type { CrushMap } from '@shoal/crush'
import { describe, expect, it } from 'vitest'
import { QuotaLedger } from '../src/services/quota-ledger.ts'

const poolId = 3 as PoolId
const quotaEpoch = 7 as Epoch

function mapWith(pgNum: number, maxBytes: number, maxObjects: number, epoch = quotaEpoch): OsdMap {
  const pool: Pool = {
    id: poolId,
    name: 'p',
    type: 'replicated',
    size: 3,
    minSize: 2,
    pgNum,
    pgpNum: pgNum,
    crushRule: 0,
    hashPool: true,
    created: 1 as Epoch,
    lastChange: 1 as Epoch,
    applications: [],
    options: new Map(),
  }
  const map = createOsdMap('f', {} as CrushMap, 0)
  return { ...map, pools: new Map([[poolId, withQuota(pool, { maxBytes, maxObjects, epoch })]]) }
}

const use = (bytes: number, objects = 0) => ({ bytes, objects })

function askOf(seed: number, sequence: number, used: number, held: number, wanted: number, since = 1): QuotaAsk {
  const id = pgId(poolId, seed)
  return {
    pgId: id,
    since: since as Epoch,
    quota: quotaEpoch,
    sequence,
    used: use(used),
    held: use(held),
    wanted: use(wanted),
  }
}

describe('the ledger of quotas', () => {
  it('keeps the share of a placement group that was merged until all have told since then', () => {
    const ledger = new QuotaLedger()
    const before = mapWith(2, 1000, 0)
    ledger.answer(askOf(0, 1, 100, 100, 100), before, 0)
    ledger.answer(askOf(1, 1, 800, 800, 800), before, 0)
    const pool = before.pools.get(poolId) as Pool
    const merged: Pool = { ...pool, pgNum: 1, options: new Map(pool.options).set('pg_merge_last', `9 1 0 5'5 5'5`) }
    const after: OsdMap = { ...before, pools: new Map([[poolId, merged]]) }
    expect(ledger.answer(askOf(0, 2, 100, 100, 300), after, 0).verdict).not.toBe('granted')
    expect(ledger.answer(askOf(0, 1, 900, 900, 990, 9), after, 0)).toMatchObject({ verdict: 'granted', held: use(990) })
    expect(ledger.answer(askOf(0, 2, 10, 10, 1000, 9), after, 0)).toMatchObject({ verdict: 'granted', held: use(1000) })
  })

  it('refuses nobody for what a merged placement group and its target both count, and takes an old seed for no new one', () => {
    const ledger = new QuotaLedger()
    const before = mapWith(3, 800, 0)
    for (const seed of [0, 1, 2]) ledger.answer(askOf(seed, 1, 200, 200, 200), before, 0)
    const pool = before.pools.get(poolId) as Pool
    const options = new Map(pool.options).set('pg_merge_last', `9 2 0 5'5 5'5`)
    const withPgs = (pgNum: number): OsdMap => ({ ...before, pools: new Map([[poolId, { ...pool, pgNum, options }]]) })
    expect(ledger.answer(askOf(0, 1, 400, 400, 450, 9), withPgs(2), 0).verdict).toBe('wait')
    // Split again before all have told: nobody has told of the new one, and what the old one had is still held.
    expect(ledger.answer(askOf(0, 2, 400, 400, 450, 10), withPgs(3), 0).verdict).toBe('wait')
    expect(ledger.answer(askOf(1, 1, 200, 200, 200, 9), withPgs(2), 0).verdict).toBe('granted')
    expect(ledger.answer(askOf(0, 3, 400, 400, 450, 10), withPgs(2), 0)).toMatchObject({ verdict: 'granted' })
    expect(ledger.answer(askOf(1, 2, 200, 200, 600, 9), withPgs(2), 0).verdict).toBe('refused')
  })

  it('grants nothing before every placement group has told what it holds', () => {
    const ledger = new QuotaLedger()
    const map = mapWith(2, 1000, 0)
    expect(ledger.answer(askOf(0, 1, 0, 0, 10), map, 0).verdict).toBe('wait')
    expect(ledger.answer(askOf(1, 1, 900, 900, 900), map, 0)).toMatchObject({ verdict: 'granted', held: use(900) })
    expect(ledger.answer(askOf(0, 2, 0, 0, 10), map, 0)).toMatchObject({ verdict: 'granted', held: use(10) })
    expect(ledger.answer(askOf(0, 3, 10, 10, 101), map, 0).verdict).toBe('refused')
    expect(ledger.isFull(poolId)).toBe(true)
    // It shrinks: there is room, and it is full no more.
    expect(ledger.answer(askOf(1, 2, 500, 500, 500), map, 0).verdict).toBe('granted')
    expect(ledger.isFull(poolId)).toBe(false)
    expect(ledger.answer(askOf(0, 4, 10, 10, 101), map, 0).verdict).toBe('granted')
  })

  it('lets one wait for what another holds and does not use, unless that one is silent', () => {
    const ledger = new QuotaLedger()
    const map = mapWith(2, 1000, 0)
    ledger.answer(askOf(1, 1, 100, 1000, 1000), map, 0)
    expect(ledger.answer(askOf(0, 1, 0, 0, 10), map, 1_000).verdict).toBe('wait')
    expect(ledger.answer(askOf(0, 2, 0, 0, 10), map, 9_000).verdict).toBe('refused')
    expect(ledger.answer(askOf(1, 2, 100, 100, 100), map, 9_500).verdict).toBe('granted')
    expect(ledger.answer(askOf(0, 3, 0, 0, 10), map, 9_600).verdict).toBe('granted')
  })

  it('frees nothing for who wants more objects, and fewer bytes than it holds', () => {
    const ledger = new QuotaLedger()
    const map = mapWith(1, 1024 ** 3, 10)
    const all = use(1024 ** 3, 1)
    const ask = { ...askOf(0, 1, 0, 0, 0), held: all, wanted: use(0, 2) }
    expect(ledger.answer(ask, map, 0)).toMatchObject({ verdict: 'granted', held: { bytes: all.bytes } })
  })

  it('gives more than is wanted while there is plenty, and limits objects as well as bytes', () => {
    const ledger = new QuotaLedger()
    const map = mapWith(1, 1024 ** 3, 5)
    const first = ledger.answer({ ...askOf(0, 1, 0, 0, 0), wanted: use(100, 1) }, map, 0)
    expect(first.verdict).toBe('granted')
    expect(first.held.bytes).toBeGreaterThan(1024 ** 2)
    expect(first.held.objects).toBe(2)
    const more = { ...askOf(0, 2, 100, 100, 0), used: use(100, 2), held: use(100, 2), wanted: use(200, 6) }
    expect(ledger.answer(more, map, 0).verdict).toBe('refused')
  })

  it('knows an ask that comes twice or late, and takes none of another quota or interval', () => {
    const ledger = new QuotaLedger()
    const map = mapWith(1, 1000, 0)
    const ask = askOf(0, 2, 0, 0, 600)
    const answer = ledger.answer(ask, map, 0)
    expect(ledger.answer(ask, map, 5)).toEqual(answer)
    expect(ledger.answer(askOf(0, 1, 0, 0, 10), map, 5).verdict).toBe('wait')
    expect(ledger.answer({ ...ask, sequence: 3, quota: 6 as Epoch }, map, 5).verdict).toBe('wait')
    // The next interval begins with what is used; then the one before is void.
    expect(ledger.answer(askOf(0, 1, 300, 300, 1000, 2), map, 5).verdict).toBe('granted')
    expect(ledger.answer(askOf(0, 9, 0, 0, 10, 1), map, 5).verdict).toBe('wait')
    ledger.prune(mapWith(1, 1000, 0, 8 as Epoch))
    expect(ledger.isFull(poolId)).toBe(false)
  })

  it('never lets primaries order more than the quota, in 300 random histories', () => {
    for (let seed = 1; seed <= 300; seed++) expect(mostEverUsed(seed)).toBeLessThanOrEqual(10_000)
  })
})

interface Primary {
  since: number
  sequence: number
  used: number
  held: number
  /** Answers on their way. */
  answers: QuotaAnswer[]
}

/** Primaries that ask, write, fail over and give back, with asks and answers that get lost, come late or twice; leaders that change. */
function mostEverUsed(seed: number): number {
  const random = new Prng([seed, 0x9007a, 1])
  const pgNum = 1 + random.below(5)
  const map = mapWith(pgNum, 10_000, 0)
  let ledger = new QuotaLedger()
  const primaries: Primary[] = Array.from({ length: pgNum }, () => ({
    since: 1,
    sequence: 0,
    used: 0,
    held: 0,
    answers: [],
  }))
  const late: { readonly term: number; readonly ask: QuotaAsk }[] = []
  let term = 1
  let most = 0
  for (let step = 0; step < 2_000; step++) {
    const at = random.below(pgNum)
    const one = primaries[at] as Primary
    const what = random.below(20)
    if (what < 8) {
      const length = random.below(one.held - one.used + 1)
      one.used += length
      most = Math.max(
        most,
        primaries.reduce((sum, { used }) => sum + used, 0),
      )
    } else if (what < 14) {
      one.sequence++
      if (random.below(3) === 0) one.held = one.used
      const wanted = random.below(2) === 0 ? one.held : one.held + random.below(3_000)
      const ask = askOf(at, one.sequence, one.used, one.held, wanted, one.since)
      if (random.below(4) > 0) one.answers.push(ledger.answer(ask, map, step * 10))
      else late.push({ term, ask })
    } else if (what < 17) {
      const answer = one.answers.shift()
      if (answer?.verdict === 'granted' && answer.since === one.since && answer.sequence === one.sequence)
        one.held = answer.held.bytes
    } else if (what === 17) {
      const found = late.shift()
      if (found?.term === term) ledger.answer(found.ask, map, step * 10)
    } else if (what === 18) {
      // Removals; or another primary, which begins with what is used.
      if (random.below(2) === 0) one.used = Math.floor(one.used / 2)
      else Object.assign(one, { since: one.since + 1, sequence: 0, held: one.used, answers: [] })
    } else if (random.below(10) === 0) {
      ledger = new QuotaLedger()
      term++
      // They hear of the new leader, and take no answers of the old one any more.
      for (const primary of primaries) primary.sequence++
    }
  }
  return most
}
