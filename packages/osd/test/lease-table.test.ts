import type { Epoch, OsdId } from '@shoal/base'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeaseTable } from '../src/lease-table.ts'

const osd = 3 as OsdId
const at = (epoch: number) => epoch as Epoch

describe('lease table', () => {
  it('holds nothing and owes nothing at first, unless the store has served before', () => {
    expect(new LeaseTable(2_000, undefined).grantedUntilMs(osd, at(9))).toBe(Number.NEGATIVE_INFINITY)
    expect(new LeaseTable(2_000, 100).grantedUntilMs(osd, at(9))).toBe(2_100)
    expect(new LeaseTable(2_000, 100).heldUntilMs(osd)).toBe(Number.NEGATIVE_INFINITY)
  })

  it('promises nothing to a pinger with an older map, and the pinger knows', () => {
    const pinger = new LeaseTable(2_000, undefined)
    const answerer = new LeaseTable(2_000, undefined)
    pinger.onPingSent(osd, 0, at(4))
    answerer.onPing(osd, at(4), at(5), 1)
    pinger.onReply(osd, 0, at(5))
    expect(answerer.grantedUntilMs(osd, at(9))).toBe(Number.NEGATIVE_INFINITY)
    expect(pinger.heldUntilMs(osd)).toBe(Number.NEGATIVE_INFINITY)
  })

  it('counts a reply by the map that the ping named, not by the map of now', () => {
    const pinger = new LeaseTable(2_000, undefined)
    pinger.onPingSent(osd, 0, at(4))
    pinger.onPingSent(osd, 500, at(5))
    pinger.onReply(osd, 0, at(5))
    expect(pinger.heldUntilMs(osd)).toBe(Number.NEGATIVE_INFINITY)
    pinger.onReply(osd, 500, at(5))
    expect(pinger.heldUntilMs(osd)).toBeGreaterThan(500)
  })

  it('owes nothing for an interval that the pinger knows to be over, however often it pings', () => {
    const answerer = new LeaseTable(2_000, undefined)
    answerer.onPing(osd, at(4), at(4), 100)
    for (let nowMs = 500; nowMs < 5_000; nowMs += 500) answerer.onPing(osd, at(5), at(5), nowMs)
    expect(answerer.grantedUntilMs(osd, at(5))).toBeLessThanOrEqual(2_100)
    expect(answerer.grantedUntilMs(osd, at(6))).toBe(6_500)
  })

  it('forgets promises that have run out, and merges the oldest when there are too many', () => {
    const answerer = new LeaseTable(2_000, undefined)
    for (let epoch = 1; epoch <= 60; epoch++) answerer.onPing(osd, at(epoch), at(epoch), epoch)
    expect(answerer.grantedUntilMs(osd, at(2))).toBeGreaterThanOrEqual(2_001)
    expect(answerer.grantedUntilMs(osd, at(61))).toBe(2_060)
    answerer.onPing(osd, at(61), at(61), 9_000)
    expect(answerer.grantedUntilMs(osd, at(61))).toBe(Number.NEGATIVE_INFINITY)
  })

  it('ignores replies to pings that were never sent, and repeated ones', () => {
    const pinger = new LeaseTable(2_000, undefined)
    pinger.onReply(osd, 99, at(0))
    expect(pinger.heldUntilMs(osd)).toBe(Number.NEGATIVE_INFINITY)
  })

  it('never lets a pinger hold longer than its peer has granted, whatever the delays', () => {
    const step = fc.record({
      gapMs: fc.integer({ min: 1, max: 900 }),
      thereMs: fc.integer({ min: 0, max: 3_000 }),
      backMs: fc.integer({ min: 0, max: 3_000 }),
      pingEpoch: fc.integer({ min: 1, max: 3 }),
      ourEpoch: fc.integer({ min: 1, max: 3 }),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const pinger = new LeaseTable(2_000, undefined)
        const answerer = new LeaseTable(2_000, undefined)
        const events: { atMs: number; run: () => void }[] = []
        let nowMs = 0
        for (const { gapMs, thereMs, backMs, pingEpoch, ourEpoch } of steps) {
          nowMs += gapMs
          const sentMs = nowMs
          events.push({ atMs: sentMs, run: () => pinger.onPingSent(osd, sentMs, at(pingEpoch)) })
          events.push({
            atMs: sentMs + thereMs,
            run: () => answerer.onPing(osd, at(pingEpoch), at(ourEpoch), sentMs + thereMs),
          })
          events.push({ atMs: sentMs + thereMs + backMs, run: () => pinger.onReply(osd, sentMs, at(ourEpoch)) })
        }
        for (const event of events.sort((a, b) => a.atMs - b.atMs)) {
          event.run()
          expect(pinger.heldUntilMs(osd)).toBeLessThanOrEqual(answerer.grantedUntilMs(osd, at(9)))
        }
      }),
    )
  })
})
