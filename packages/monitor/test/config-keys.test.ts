/** Config keys: set, read, removed, kept through snapshots; and what goes with an OSD that is given up. */
import { decode, encode, hexEncode, type OsdId } from '@shoal/base'
import { expect, test } from 'vitest'
import type { ClusterView, WriteView } from '../src/commands/command.ts'
import { findCommand } from '../src/commands/command-table.ts'
import { initialOsdMap } from '../src/index.ts'
import { registerOsd } from '../src/services/osd-lifecycle.ts'
import { ClusterState } from '../src/state/cluster-state.ts'
import { noOperations } from '../src/state/operations.ts'
import { OsdMapHistory } from '../src/state/osd-map-history.ts'
import { proposalCodec } from '../src/state/proposal.ts'
import { ProposalDraft } from '../src/state/proposal-draft.ts'

const nobody = { fsid: 'f', epoch: 1, monitors: [] }
const osdMap = initialOsdMap({ fsid: 'f', failureDomain: 'osd' })
const fresh = (): ClusterState => ClusterState.initial(nobody, osdMap)

function write(state: ClusterState, prefix: string, args: object): void {
  const draft = new ProposalDraft(state, 'mon.a', 0)
  const command = findCommand(prefix)
  if (command.kind !== 'write') throw new Error(`${prefix} writes`)
  command.run(args, { draft } as unknown as WriteView)
  state.apply(decode(proposalCodec, encode(proposalCodec, draft.finish(10))))
}

function read(state: ClusterState, prefix: string, args: object): unknown {
  const command = findCommand(prefix)
  if (command.kind !== 'read') throw new Error(`${prefix} reads`)
  return command.run(args, { state } as unknown as ClusterView).data
}

test('a value is set, read, replaced, and not replaced by who asked for a new one', () => {
  const state = fresh()
  write(state, 'config-key set', { key: 'a/b', val: 'one', exclusive: true })
  write(state, 'config-key set', { key: 'a/b', val: 'one', exclusive: true })
  expect(() => write(state, 'config-key set', { key: 'a/b', val: 'two', exclusive: true })).toThrow(/another value/)
  expect(read(state, 'config-key get', { key: 'a/b' })).toEqual({ key: 'a/b', value: 'one' })
  write(state, 'config-key set', { key: 'a/b', val: 'two' })
  expect(read(state, 'config-key get', { key: 'a/b' })).toEqual({ key: 'a/b', value: 'two' })
  expect(read(state, 'config-key ls', {})).toEqual(['a/b'])
  for (const key of ['', 'with blank', 'x'.repeat(300)]) {
    expect(() => write(state, 'config-key set', { key, val: '' })).toThrow()
  }
  write(state, 'config-key rm', { key: 'a/b' })
  expect(() => read(state, 'config-key get', { key: 'a/b' })).toThrow(/no config key/)
})

test('all of them together have a bound, which nothing that shrinks runs into', () => {
  const state = fresh()
  const value = 'x'.repeat(64 * 1024)
  let kept = 0
  const fill = (): void => {
    for (; kept < 200; kept++) write(state, 'config-key set', { key: `key-${kept}`, val: value })
  }
  expect(fill).toThrow(expect.objectContaining({ code: 'ENOSPC' }) as Error)
  expect(kept).toBe(127)
  expect(() => write(state, 'config-key set', { key: 'key-200', val: value })).toThrow(/together/)
  write(state, 'config-key set', { key: 'key-0', val: 'less' })
  write(state, 'config-key set', { key: 'key-200', val: value.slice(100) })
})

test.each([
  ['a cluster of an earlier version', undefined, '0101'],
  ['a new cluster', noOperations, '0202'],
] as const)(
  'snapshots of %s carry them, in one order; without any they have the bytes they always had',
  (_whose, operations, version) => {
    const start = (): ClusterState => new ClusterState(nobody, new OsdMapHistory(osdMap), operations)
    const state = start()
    const without = state.snapshot()
    expect(hexEncode(without.subarray(0, 2))).toBe(version)
    write(state, 'config-key set', { key: 'b', val: '2' })
    write(state, 'config-key set', { key: 'a', val: '1' })
    const snapshot = state.snapshot()
    expect(hexEncode(snapshot.subarray(0, 2))).toBe('0303')
    expect(hexEncode(snapshot.subarray(-29))).toBe('6b18000000020000000100000061010000003101000000620100000032')
    const other = start()
    other.restore(snapshot)
    expect(other.operations).toEqual(operations)
    expect([...other.configKeys]).toEqual([
      ['a', '1'],
      ['b', '2'],
    ])
    const bad = snapshot.slice()
    bad[bad.length - 29] = 0x6c
    expect(() => fresh().restore(bad)).toThrow(/does not know/)
    write(other, 'config-key rm', { key: 'a' })
    write(other, 'config-key rm', { key: 'b' })
    expect(other.snapshot()).toEqual(without)
  },
)

test('the key of a store goes when its OSD is given up, and only then', () => {
  for (const [prefix, gone] of [
    ['osd destroy', true],
    ['osd purge', true],
    ['osd out', false],
  ] as const) {
    const state = fresh()
    const draft = new ProposalDraft(state, 'mon.a', 0)
    registerOsd(draft, 'uuid-0', 0 as OsdId)
    state.apply(draft.finish(10))
    write(state, 'config-key set', { key: 'dm-crypt/osd/uuid-0/luks', val: 'sealed' })
    write(state, 'config-key set', { key: 'dm-crypt/osd/uuid-1/luks', val: 'sealed' })
    write(state, prefix, prefix === 'osd out' ? { ids: [0] } : { id: 0, sure: true })
    expect(state.configKeys.has('dm-crypt/osd/uuid-0/luks')).toBe(!gone)
    expect(state.configKeys.has('dm-crypt/osd/uuid-1/luks')).toBe(true)
  }
})
