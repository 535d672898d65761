/** Changes of health are told once, whatever the leader believed when it found them. */
import type { HealthCheck, HealthReport } from '@shoal/monitor-client'
import { expect, it } from 'vitest'
import { writeHealth } from '../src/health/health-watch.ts'
import { initialOsdMap } from '../src/index.ts'
import { ClusterState } from '../src/state/cluster-state.ts'
import { ProposalDraft } from '../src/state/proposal-draft.ts'

const check: HealthCheck = { code: 'OSD_DOWN', severity: 'warning', summary: '1 osd down', count: 1 } as HealthCheck
const failing = { status: 'HEALTH_WARN', checks: [check], mutes: [] } as unknown as HealthReport
const well = { status: 'HEALTH_OK', checks: [], mutes: [] } as unknown as HealthReport

function setUp() {
  const state = ClusterState.initial({ fsid: 'f', epoch: 1, monitors: [] }, initialOsdMap({ fsid: 'f' }))
  const tell = (...reports: readonly HealthReport[]): void => {
    const draft = new ProposalDraft(state, 'mon.a', 5)
    for (const report of reports) writeHealth(draft, report, undefined)
    if (!draft.empty) expect(state.apply(draft.finish(100))).toBe('applied')
  }
  const told = () => ({
    log: state.log.map(({ message }) => message),
    history: state.operations?.healthHistory.map(({ event, code }) => `${event} ${code}`),
  })
  return { state, tell, told }
}

const failed = 'health check failed: 1 osd down (OSD_DOWN)'

it('tells once what was found twice, in the log and in the history', () => {
  const { tell, told } = setUp()
  tell(failing, failing)
  tell(failing)
  expect(told()).toEqual({ log: [failed], history: ['failed OSD_DOWN'] })
  tell(well, well)
  tell(well)
  const cleared = ['health check cleared: OSD_DOWN', 'cluster is healthy']
  expect(told()).toEqual({ log: [failed, ...cleared], history: ['failed OSD_DOWN', 'cleared OSD_DOWN'] })
})

it('misses nothing that came and went between two proposals', () => {
  const { tell, told } = setUp()
  tell(failing, well)
  expect(told().history).toEqual(['failed OSD_DOWN', 'cleared OSD_DOWN'])
})

it('tells a severity that is another in the state, not in the memory of whoever found it', () => {
  const { tell, told } = setUp()
  const worse = { ...failing, checks: [{ ...check, severity: 'error' as const }] }
  tell(failing)
  tell(worse, worse)
  expect(told().history).toEqual(['failed OSD_DOWN', 'worsened OSD_DOWN'])
  expect(told().log).toHaveLength(2)
})
