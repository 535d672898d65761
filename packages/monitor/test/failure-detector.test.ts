import type { Epoch, OsdId } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import { describe, expect, it } from 'vitest'
import { defaultSettings } from '../src/config.ts'
import { initialOsdMap } from '../src/index.ts'
import { AutoOut } from '../src/services/auto-out.ts'
import { FailureDetector } from '../src/services/failure-detector.ts'
import { bootOsd, markDown } from '../src/services/osd-lifecycle.ts'
import { ClusterState } from '../src/state/cluster-state.ts'
import { ProposalDraft } from '../src/state/proposal-draft.ts'
import { bootOf } from './support/monitor-cluster.ts'

/** OSD `i` on host `hosts[i]`, all up. */
function mapOf(hosts: readonly string[], down: readonly number[] = []): OsdMap {
  const state = ClusterState.initial({ fsid: 'f', epoch: 1, monitors: [] }, initialOsdMap({ fsid: 'f' }))
  const boots = new ProposalDraft(state, 'mon.a', 0)
  for (const [i, host] of hosts.entries()) bootOsd(boots, bootOf(i, 1, host), defaultSettings)
  state.apply(boots.finish(10))
  const downs = new ProposalDraft(state, 'mon.a', 0)
  for (const id of down) markDown(downs, downs.map.osds.get(id as OsdId) as never, 'test')
  state.apply(downs.finish(10))
  return state.osdMap
}

const report = (reporter: number, failed: number, fields: object = {}) => ({
  reporter: reporter as OsdId,
  failed: failed as OsdId,
  incarnation: 1,
  silentForMs: 4_100,
  refused: false,
  retracted: false,
  epoch: 2 as Epoch,
  ...fields,
})

const failed = (detector: FailureDetector, map: OsdMap, nowMs: number) =>
  detector.failures(map, nowMs).map((failure) => failure.osd)

describe('an OSD that is marked down and lives', () => {
  it('is up again in a later epoch, never in the same one', () => {
    const state = ClusterState.initial({ fsid: 'f', epoch: 1, monitors: [] }, initialOsdMap({ fsid: 'f' }))
    const change = (run: (draft: ProposalDraft) => void): void => {
      const draft = new ProposalDraft(state, 'mon.a', 0)
      run(draft)
      state.apply(draft.finish(10))
    }
    const boot = (draft: ProposalDraft) => bootOsd(draft, bootOf(0, 1, 'a'), defaultSettings)
    change((draft) => expect(boot(draft)).toBe('up'))
    change((draft) => {
      markDown(draft, draft.map.osds.get(0 as OsdId) as never, 'test')
      expect(boot(draft)).toBe('again')
    })
    const down = state.osdMap
    expect(down.osds.get(0 as OsdId)).toMatchObject({ up: false, downAt: down.epoch })
    change((draft) => expect(boot(draft)).toBe('up'))
    expect(state.osdMap.osds.get(0 as OsdId)).toMatchObject({ up: true, downAt: down.epoch, upFrom: down.epoch + 1 })
  })
})

describe('failure reports', () => {
  it('need reporters of two hosts where there are two', () => {
    const map = mapOf(['a', 'a', 'b', 'b', 'c'])
    const detector = new FailureDetector(defaultSettings)
    detector.report(report(0, 4), map, 0)
    detector.report(report(1, 4), map, 0)
    expect(failed(detector, map, 10)).toEqual([])
    detector.report(report(2, 4), map, 20)
    expect(failed(detector, map, 30)).toEqual([4])
  })

  it('need two OSDs where all are on one host, and one where there is only one other', () => {
    const map = mapOf(['a', 'a', 'a'])
    const detector = new FailureDetector(defaultSettings)
    detector.report(report(0, 2), map, 0)
    expect(failed(detector, map, 10)).toEqual([])
    detector.report(report(1, 2), map, 20)
    expect(failed(detector, map, 30)).toEqual([2])
    const pair = mapOf(['a', 'a'])
    const other = new FailureDetector(defaultSettings)
    other.report(report(0, 1), pair, 0)
    expect(failed(other, pair, 10)).toEqual([1])
  })

  it('wait for the grace, count a refusal at once, and can be taken back', () => {
    const map = mapOf(['a', 'b', 'c'])
    const detector = new FailureDetector(defaultSettings)
    detector.report(report(0, 2, { silentForMs: 1_000 }), map, 0)
    detector.report(report(1, 2, { silentForMs: 3_000 }), map, 0)
    expect(failed(detector, map, 2_900)).toEqual([])
    expect(failed(detector, map, 3_100)).toEqual([2])
    detector.report(report(1, 2, { retracted: true }), map, 3_200)
    expect(failed(detector, map, 9_000)).toEqual([])
    detector.report(report(1, 2, { refused: true, silentForMs: 0 }), map, 9_100)
    expect(failed(detector, map, 9_100)).toEqual([2])
  })

  it('are void about another run, from OSDs that are down, and about oneself', () => {
    const map = mapOf(['a', 'b', 'c', 'd'], [3])
    const detector = new FailureDetector(defaultSettings)
    expect(detector.report(report(0, 2, { incarnation: 7 }), map, 0)).toBe(false)
    expect(detector.report(report(3, 2), map, 0)).toBe(false)
    expect(detector.report(report(2, 2), map, 0)).toBe(false)
    expect(detector.report(report(0, 3), map, 0)).toBe(false)
    expect(detector.pending()).toEqual([])
  })

  it('are forgotten with their reporter', () => {
    const detector = new FailureDetector(defaultSettings)
    const hosts = ['a', 'b', 'c', 'd']
    detector.report(report(0, 2), mapOf(hosts), 0)
    detector.report(report(1, 2), mapOf(hosts), 0)
    expect(failed(detector, mapOf(hosts, [0]), 100)).toEqual([])
    expect(detector.pending()).toEqual([{ osd: 2, reporters: [1] }])
  })

  it('give more grace to an OSD that was slow and not dead, less and less with time', () => {
    const map = mapOf(['a', 'b', 'c'])
    const detector = new FailureDetector(defaultSettings)
    const osd = map.osds.get(2 as OsdId) as NonNullable<ReturnType<typeof map.osds.get>>
    expect(detector.graceMs(osd.id, [], 0)).toBe(4_000)
    detector.onMarkedDown(osd, 0)
    detector.onBoot(osd.id, 1, 60_000)
    const slow = detector.graceMs(osd.id, [], 60_000)
    expect(slow).toBeGreaterThan(4_000)
    expect(detector.graceMs(osd.id, [], 3_660_000)).toBeLessThan(slow)
    const dead = new FailureDetector(defaultSettings)
    dead.onMarkedDown(osd, 0)
    dead.onBoot(osd.id, 2, 60_000)
    expect(dead.graceMs(osd.id, [], 60_000)).toBe(4_000)
  })
})

describe('auto-out', () => {
  const settings = { ...defaultSettings, mon_osd_down_out_interval: 600 }
  const hosts = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
  const due = (auto: AutoOut, map: OsdMap, nowMs: number) => auto.due(map, nowMs).map((osd) => osd.id)

  it('waits for the interval, which begins anew when the OSD was up in between', () => {
    const auto = new AutoOut(settings)
    expect(due(auto, mapOf(hosts, [1]), 0)).toEqual([])
    expect(due(auto, mapOf(hosts), 500_000)).toEqual([])
    expect(due(auto, mapOf(hosts, [1]), 590_000)).toEqual([])
    expect(due(auto, mapOf(hosts, [1]), 610_000)).toEqual([])
    expect(due(auto, mapOf(hosts, [1]), 1_190_000)).toEqual([1])
  })

  it('leaves at least three quarters in, and does nothing under noout', () => {
    const map = mapOf(hosts, [0, 1, 2, 3])
    const auto = new AutoOut(settings)
    auto.due(map, 0)
    expect(due(auto, map, 700_000)).toEqual([0, 1])
    expect(due(auto, { ...map, flags: new Set(['noout']) }, 700_000)).toEqual([])
    const few = mapOf(['a', 'b', 'c'], [0])
    const small = new AutoOut(settings)
    small.due(few, 0)
    expect(due(small, few, 700_000)).toEqual([])
  })
})
