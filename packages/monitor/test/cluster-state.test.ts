import { decode, type Epoch, encode, hexDecode, type OsdId } from '@shoal/base'
import { osdMapCodec } from '@shoal/cluster-map'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { findCommand } from '../src/commands/command-table.ts'
import { defaultSettings } from '../src/config.ts'
import { initialOsdMap } from '../src/index.ts'
import { FailureDetector } from '../src/services/failure-detector.ts'
import { bootOsd } from '../src/services/osd-lifecycle.ts'
import { Statistics } from '../src/services/statistics.ts'
import { ClusterState } from '../src/state/cluster-state.ts'
import { OsdMapHistory } from '../src/state/osd-map-history.ts'
import { proposalCodec } from '../src/state/proposal.ts'
import { ProposalDraft } from '../src/state/proposal-draft.ts'
import { bootOf } from './support/monitor-cluster.ts'

const fresh = () => {
  const monitors = { fsid: 'f', epoch: 1, monitors: [] }
  return ClusterState.initial(monitors, initialOsdMap({ fsid: 'f', failureDomain: 'osd' }))
}

type Step =
  | { readonly kind: 'boot'; readonly osd: number; readonly run: number }
  | { readonly kind: 'command'; readonly command: { readonly prefix: string; readonly [argument: string]: unknown } }
  | { readonly kind: 'trim' }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('boot' as const), osd: fc.nat(4), run: fc.integer({ min: 1, max: 3 }) }),
  fc
    .oneof(
      fc.record({
        prefix: fc.constantFrom('osd out', 'osd in', 'osd down', 'osd rm'),
        ids: fc.array(fc.nat(4), { minLength: 1, maxLength: 2 }),
      }),
      fc.record({
        prefix: fc.constant('osd pool create'),
        pool: fc.constantFrom('p', 'q', 'r'),
        pg_num: fc.constantFrom(4, 8),
      }),
      fc.constantFrom('p', 'q').map((pool) => ({ prefix: 'osd pool rm', pool, pool2: pool, sure: true })),
      fc.record({
        prefix: fc.constantFrom('osd pool mksnap', 'osd pool rmsnap'),
        pool: fc.constantFrom('p', 'q'),
        snap: fc.constantFrom('monday', 'tuesday'),
      }),
      fc.record({ prefix: fc.constant('osd pool selfmanaged-snap create'), pool: fc.constantFrom('q', 'r') }),
      fc.record({
        prefix: fc.constant('osd pool selfmanaged-snap rm'),
        pool: fc.constantFrom('q', 'r'),
        snap: fc.constantFrom(1, 2),
      }),
      fc.record({ prefix: fc.constantFrom('osd set', 'osd unset'), key: fc.constantFrom('noout', 'pause', 'noup') }),
      fc.record({ prefix: fc.constant('osd reweight'), id: fc.nat(4), weight: fc.constantFrom(0, 0.5, 1) }),
      fc.record({
        prefix: fc.constant('osd pg-upmap-items'),
        pgid: fc.constantFrom('1.0', '2.3'),
        id: fc.constant([0, 1]),
      }),
      fc.record({
        prefix: fc.constant('osd crush reweight'),
        name: fc.constantFrom('osd.0', 'osd.1'),
        weight: fc.constantFrom(1, 2),
      }),
      fc.record({
        prefix: fc.constantFrom('config set', 'config rm'),
        who: fc.constantFrom('global', 'osd', 'osd/class:ssd', 'osd.0'),
        name: fc.constantFrom('osd_max_backfills', 'osd_heartbeat_grace'),
        value: fc.constantFrom('2', '3'),
      }),
      fc.record({ prefix: fc.constant('config reset'), num: fc.nat(4) }),
      fc.record({ prefix: fc.constant('log'), logtext: fc.constantFrom('x', 'y') }),
      fc.record({
        prefix: fc.constant('config-key set'),
        key: fc.constantFrom('k1', 'k2', 'dm-crypt/osd/u0/luks'),
        val: fc.constantFrom('a', 'b'),
        exclusive: fc.boolean(),
      }),
      fc.record({ prefix: fc.constant('config-key rm'), key: fc.constantFrom('k1', 'k2') }),
    )
    .map((command) => ({ kind: 'command' as const, command })),
  fc.record({ kind: fc.constant('trim' as const) }),
)

/** What a leader would propose for the step; undefined when the step is refused. */
function decide(state: ClusterState, what: Step, wallMs: number): Uint8Array | undefined {
  const draft = new ProposalDraft(state, 'mon.a', wallMs)
  try {
    if (what.kind === 'boot') bootOsd(draft, bootOf(what.osd, what.run), defaultSettings)
    else if (what.kind === 'trim') draft.trimOsdMapsBefore(Math.max(1, state.osdMaps.last - 3) as Epoch)
    else {
      const { prefix, ...args } = what.command
      const command = findCommand(prefix)
      const view = {
        state,
        map: draft.map,
        operations: draft.operations.value,
        settings: defaultSettings,
        statistics: new Statistics(),
        failures: new FailureDetector(defaultSettings),
        balancer: undefined,
        quotas: undefined,
        quorum: { leaderId: 1, term: 1, members: [] },
        nowMs: 0,
        wallMs,
        isLeader: true,
        placement: () => {
          throw new Error('writes do not place')
        },
        draft,
      }
      command.run(args, view)
    }
  } catch {
    return undefined
  }
  return draft.empty ? undefined : encode(proposalCodec, draft.finish(10))
}

function run(steps: readonly Step[]) {
  const leader = fresh()
  const follower = fresh()
  const log: Uint8Array[] = []
  const maps = new Map<number, Uint8Array>([[1, encode(osdMapCodec, leader.osdMap)]])
  for (const [i, what] of steps.entries()) {
    const command = decide(leader, what, i)
    if (command === undefined) continue
    log.push(command)
    expect(leader.apply(decode(proposalCodec, command))).toBe('applied')
    follower.apply(decode(proposalCodec, command))
    maps.set(leader.osdMaps.last, encode(osdMapCodec, leader.osdMap))
  }
  return { leader, follower, log, maps }
}

describe('the replicated state', () => {
  it('is the same, byte for byte, wherever the same proposals were applied, also after a snapshot in between', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.nat(40), (steps, cut) => {
        const { leader, follower, log } = run(steps)
        expect(follower.snapshot()).toEqual(leader.snapshot())
        const restored = fresh()
        for (const command of log.slice(0, cut)) restored.apply(decode(proposalCodec, command))
        const again = fresh()
        again.restore(restored.snapshot())
        for (const command of log.slice(cut)) again.apply(decode(proposalCodec, command))
        expect(again.snapshot()).toEqual(leader.snapshot())
      }),
      { numRuns: 25 },
    )
  })

  it('gives every kept epoch as it was, from whole maps and incrementals', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => {
        const { leader, maps } = run(steps)
        for (let epoch = leader.osdMaps.first; epoch <= leader.osdMaps.last; epoch++) {
          expect(encode(osdMapCodec, leader.osdMaps.at(epoch))).toEqual(maps.get(epoch))
        }
        expect(() => leader.osdMaps.at((leader.osdMaps.last + 1) as Epoch)).toThrow()
        if (leader.osdMaps.first > 1) expect(() => leader.osdMaps.at(1 as Epoch)).toThrow(/not kept/)
      }),
      { numRuns: 25 },
    )
  })

  it('skips a proposal that another one overtook, whole', () => {
    const state = fresh()
    const one = decide(state, { kind: 'boot', osd: 0, run: 1 }, 1) as Uint8Array
    const two = decide(state, { kind: 'boot', osd: 1, run: 1 }, 2) as Uint8Array
    expect(state.apply(decode(proposalCodec, one))).toBe('applied')
    const before = state.snapshot()
    expect(state.apply(decode(proposalCodec, two))).toBe('overtaken')
    expect(state.snapshot()).toEqual(before)
    expect([...state.osdMap.osds.keys()]).toEqual([0 as OsdId])
  })

  it('keeps whole maps at distances, so that long histories are looked up in bounded steps', () => {
    const state = fresh()
    state.apply(decode(proposalCodec, decide(state, { kind: 'boot', osd: 0, run: 1 }, 1) as Uint8Array))
    for (let i = 0; i < 200; i++) {
      const weight = i % 2 === 0 ? 0.5 : 1
      const command = { prefix: 'osd reweight', id: 0, weight }
      state.apply(decode(proposalCodec, decide(state, { kind: 'command', command }, i) as Uint8Array))
    }
    expect(state.osdMaps.at(150 as Epoch).epoch).toBe(150)
    const draft = new ProposalDraft(state, 'mon.a', 0)
    draft.trimOsdMapsBefore(100 as Epoch)
    state.apply(draft.finish(10))
    expect(state.osdMaps.first).toBe(100)
    expect(state.osdMaps.at(100 as Epoch).epoch).toBe(100)
    expect(state.osdMaps.incrementalsAfter(99 as Epoch, 5)).toBeUndefined()
    expect(state.osdMaps.incrementalsAfter(100 as Epoch, 5)).toHaveLength(5)
  })

  it('writes and reads the bytes of earlier versions until an operator uses what they do not know', () => {
    // Version 1, for readers of version 1, 18 bytes: no maps, no log, no replies, no trim, 10 entries kept.
    const bytes = hexDecode('01011200000000000000000000000000000000000a000000') as Uint8Array
    const proposal = decode(proposalCodec, bytes)
    expect(proposal).toEqual({
      osdMap: undefined,
      monitorMap: undefined,
      log: [],
      replies: [],
      trimOsdMapsBefore: 0,
      logMax: 10,
      operations: undefined,
      configKeys: new Map(),
    })
    expect(encode(proposalCodec, proposal)).toEqual(bytes)
    const monitors = { fsid: 'f', epoch: 1, monitors: [] }
    const old = new ClusterState(monitors, new OsdMapHistory(initialOsdMap({ fsid: 'f' })), undefined)
    const snapshot = old.snapshot()
    expect([...snapshot.slice(0, 2)]).toEqual([1, 1])
    const state = fresh()
    state.restore(snapshot)
    expect(state.operations).toBeUndefined()
    state.apply(decode(proposalCodec, decide(state, { kind: 'boot', osd: 0, run: 1 }, 1) as Uint8Array))
    expect([...state.snapshot().slice(0, 2)]).toEqual([1, 1])
    const command = { prefix: 'config set', who: 'osd', name: 'osd_max_backfills', value: '2' }
    const used = decide(state, { kind: 'command', command }, 2) as Uint8Array
    expect([...used.slice(0, 2)]).toEqual([2, 2])
    state.apply(decode(proposalCodec, used))
    expect([...state.snapshot().slice(0, 2)]).toEqual([2, 2])
    expect(state.operations).toMatchObject({ version: 1, configVersion: 1 })
  })
})
