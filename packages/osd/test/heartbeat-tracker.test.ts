import type { OsdId } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { HeartbeatTracker } from '../src/heartbeat-tracker.ts'

const settings = { osd_heartbeat_interval: 0.5, osd_heartbeat_idle_interval: 1.5, osd_heartbeat_grace: 4 }
const wanted = (): boolean => true
const idle = (): boolean => false
const peer = (osd: number, incarnation = 7) => ({ osd: osd as OsdId, incarnation })

function ticking(tracker: HeartbeatTracker, fromMs: number, toMs: number, answer: readonly number[] = []) {
  const reports = []
  for (let nowMs = fromMs; nowMs <= toMs; nowMs += 500) {
    const tick = tracker.tick(nowMs, wanted)
    for (const report of tick.report) reports.push({ atMs: nowMs, ...report })
    for (const { osd, incarnation } of tick.ping) if (answer.includes(osd)) tracker.onReply(osd, incarnation, nowMs + 1)
  }
  return reports
}

describe('heartbeat tracker', () => {
  it('reports a peer that is silent for the grace, and repeats while it is true', () => {
    const tracker = new HeartbeatTracker(settings)
    tracker.setPeers([peer(1), peer(2)], 0)
    const reports = ticking(tracker, 0, 8_000, [2])
    expect(reports.map((report) => [report.atMs, report.osd])).toEqual([
      [4_000, 1],
      [6_000, 1],
      [8_000, 1],
    ])
    expect(reports[0]).toMatchObject({ incarnation: 7, silentForMs: 4_000, refused: false, retracted: false })
    expect(tracker.silentPeers(8_000)).toEqual([1])
  })

  it('takes a report back when the same run answers', () => {
    const tracker = new HeartbeatTracker(settings)
    tracker.setPeers([peer(1)], 0)
    ticking(tracker, 0, 4_000)
    expect(tracker.onReply(1 as OsdId, 8, 4_100)).toBeUndefined()
    expect(tracker.onReply(1 as OsdId, 7, 4_100)).toMatchObject({ osd: 1, incarnation: 7, retracted: true })
    expect(tracker.onReply(1 as OsdId, 7, 4_200)).toBeUndefined()
  })

  it('reports a refused connection at once and once', () => {
    const tracker = new HeartbeatTracker(settings)
    tracker.setPeers([peer(1)], 0)
    expect(tracker.onRefused(1 as OsdId, 6, 10)).toBeUndefined()
    expect(tracker.onRefused(1 as OsdId, 7, 10)).toMatchObject({ osd: 1, refused: true, retracted: false })
    expect(tracker.onRefused(1 as OsdId, 7, 20)).toBeUndefined()
    expect(tracker.tick(500, wanted).report).toEqual([])
    expect(tracker.tick(2_500, wanted).report).toMatchObject([{ osd: 1, refused: true }])
  })

  it('accuses nobody after it was itself paused', () => {
    const tracker = new HeartbeatTracker(settings)
    tracker.setPeers([peer(1)], 0)
    ticking(tracker, 0, 1_000, [1])
    expect(tracker.tick(31_000, wanted).report).toEqual([])
    expect(ticking(tracker, 31_500, 34_500)).toEqual([])
    expect(ticking(tracker, 35_000, 35_000)).toHaveLength(1)
  })

  it('begins anew with a peer that restarted, and keeps the state of one that did not', () => {
    const tracker = new HeartbeatTracker(settings)
    tracker.setPeers([peer(1), peer(2)], 0)
    ticking(tracker, 0, 3_500)
    tracker.setPeers([peer(1, 8), peer(2)], 3_500)
    expect(tracker.tick(4_000, wanted).report.map((report) => report.osd)).toEqual([2])
  })

  it('pings less often whom nobody needs, and holds the time between against nobody', () => {
    const tracker = new HeartbeatTracker(settings)
    tracker.setPeers([peer(1)], 0)
    expect(tracker.tick(0, idle)).toMatchObject({ ping: [peer(1)], nextMs: 500 })
    tracker.onReply(1 as OsdId, 7, 1)
    expect(tracker.tick(500, idle)).toMatchObject({ ping: [], nextMs: 1_500 })
    expect(tracker.tick(1_500, idle)).toMatchObject({ ping: [peer(1)], nextMs: 1_500 })
    tracker.onReply(1 as OsdId, 7, 1_501)
    // It stops now. Asked at 3,000 it is silent since 2,500, an interval before.
    expect(tracker.tick(3_000, idle)).toMatchObject({ ping: [peer(1)], nextMs: 1_500 })
    expect(tracker.tick(4_500, idle)).toMatchObject({ ping: [peer(1)], nextMs: 500 })
    expect(tracker.tick(6_000, idle).report).toEqual([])
    expect(tracker.tick(6_500, idle).report).toMatchObject([{ osd: 1, silentForMs: 4_000 }])
  })

  it('is healthy while a third of its peers answer', () => {
    const tracker = new HeartbeatTracker(settings)
    expect(tracker.isHealthy(0)).toBe(true)
    tracker.setPeers([peer(1), peer(2), peer(3)], 0)
    expect(tracker.isHealthy(0)).toBe(false)
    tracker.onReply(3 as OsdId, 7, 10)
    expect(tracker.isHealthy(20)).toBe(true)
    expect(tracker.isHealthy(5_000)).toBe(false)
  })
})
