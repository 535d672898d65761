/** Shares of a disk that does a fixed amount of work per millisecond. */
import { describe, expect, it } from 'vitest'
import { type ClassShare, MclockQueue } from '../src/mclock-queue.ts'

type Name = 'a' | 'b' | 'c'
const all = Number.POSITIVE_INFINITY
const share = (reservation: number, weight: number, limit = all): ClassShare => ({ reservation, weight, limit })

interface Load {
  readonly shares: Readonly<Record<Name, ClassShare>>
  /** Who has work at a time, always more than enough. */
  readonly busy: (name: Name, nowMs: number) => boolean
  readonly costs?: Partial<Record<Name, number>>
}

/** Work done by each in a time, on a disk of 100 per millisecond. */
function run({ shares, busy, costs = {} }: Load, fromMs: number, toMs: number): Readonly<Record<Name, number>> {
  const queue = new MclockQueue<Name, number>(shares)
  const done: Record<Name, number> = { a: 0, b: 0, c: 0 }
  let nowMs = 0
  while (nowMs < toMs) {
    for (const name of ['a', 'b', 'c'] as const) {
      while (busy(name, nowMs) && queue.waitingOf(name) < 4) queue.enqueue(name, costs[name] ?? 10, 0, nowMs)
    }
    const next = queue.next(nowMs)
    if (next === undefined) nowMs += 1
    else if (next.kind === 'wait') nowMs = Math.max(next.untilMs, nowMs + 0.001)
    else {
      if (nowMs >= fromMs) done[next.of] += next.cost
      nowMs += next.cost / 100
    }
  }
  return done
}

const near = (value: number, wanted: number): void => {
  expect(value).toBeGreaterThan(wanted * 0.95)
  expect(value).toBeLessThan(wanted * 1.05)
}

describe('mClock', () => {
  it('divides by weight what nobody reserved, whatever an item costs', () => {
    const shares = { a: share(0, 2), b: share(0, 1), c: share(0, 1) }
    const done = run({ shares, busy: (name) => name !== 'c', costs: { a: 3, b: 70 } }, 0, 10_000)
    near(done.a / done.b, 2)
    near(done.a + done.b, 1_000_000)
  })

  it('serves reservations first', () => {
    const shares = { a: share(60, 1), b: share(10, 9), c: share(0, 1) }
    const done = run({ shares, busy: () => true }, 0, 10_000)
    expect(done.a).toBeGreaterThan(590_000)
    expect(done.b).toBeGreaterThan(done.c)
    near(done.a + done.b + done.c, 1_000_000)
  })

  it('gives all to one that is alone, up to its limit', () => {
    const shares = { a: share(10, 1), b: share(10, 1, 30), c: share(0, 1) }
    near(run({ shares, busy: (name) => name === 'a' }, 0, 10_000).a, 1_000_000)
    near(run({ shares, busy: (name) => name === 'b' }, 0, 10_000).b, 300_000)
  })

  it('lets nobody save up while it is idle', () => {
    const shares = { a: share(0, 1), b: share(0, 1), c: share(0, 1) }
    const done = run({ shares, busy: (name, nowMs) => name === 'a' || (name === 'b' && nowMs > 5_000) }, 5_000, 6_000)
    near(done.a, 50_000)
    near(done.b, 50_000)
  })

  it('counts what did not wait', () => {
    const queue = new MclockQueue<Name, string>({ a: share(0, 1), b: share(0, 1), c: share(0, 1) })
    for (let i = 0; i < 1_000; i++) queue.charge('a', 10, i)
    // Nobody stood in line meanwhile: the newcomer has no claim to the past.
    for (let i = 0; i < 10; i++) {
      queue.enqueue('a', 10, 'a', 1_000)
      queue.enqueue('b', 10, 'b', 1_000)
    }
    const order: string[] = []
    for (let i = 0; i < 10; i++) {
      const next = queue.next(1_000)
      if (next?.kind === 'item') order.push(next.item)
    }
    expect(order.filter((item) => item === 'a').length).toBeGreaterThanOrEqual(4)
  })

  it('keeps the order within a class', () => {
    const queue = new MclockQueue<Name, number>({ a: share(5, 1), b: share(0, 1), c: share(0, 1) })
    for (let i = 0; i < 100; i++) queue.enqueue('a', 1, i, 0)
    const seen: number[] = []
    for (let nowMs = 0; queue.size > 0; nowMs++) {
      const next = queue.next(nowMs)
      if (next?.kind === 'item') seen.push(next.item)
    }
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i))
  })
})
