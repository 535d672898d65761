/** One test per reason for which Ceph begins a new interval, and that nothing else is one. */
import { type Epoch, osdId, poolId } from '@shoal/base'
import { isNewInterval, noPrimary, type PgMapping, type Pool } from '@shoal/cluster-map'
import { describe, expect, test } from 'vitest'

const pool: Pool = {
  id: poolId(1),
  name: 'data',
  type: 'replicated',
  size: 3,
  minSize: 2,
  pgNum: 8,
  pgpNum: 8,
  crushRule: 0,
  hashPool: true,
  created: 1 as Epoch,
  lastChange: 1 as Epoch,
  applications: [],
  options: new Map(),
}
const set = [0, 1, 2].map(osdId)
const mapping: PgMapping = { up: set, upPrimary: osdId(0), acting: set, actingPrimary: osdId(0) }
const begins = (nextMapping: Partial<PgMapping>, nextPool: Partial<Pool> = {}): boolean =>
  isNewInterval({ mapping, pool }, { mapping: { ...mapping, ...nextMapping }, pool: { ...pool, ...nextPool } })

describe('a new interval begins', () => {
  test.each<[string, Partial<PgMapping>]>([
    ['the acting primary is another', { actingPrimary: osdId(1) }],
    ['nobody can serve', { actingPrimary: noPrimary, acting: [] }],
    ['the up primary is another', { upPrimary: osdId(1) }],
    ['a member of acting is another', { acting: [0, 1, 3].map(osdId) }],
    ['acting has the same members in another order', { acting: [0, 2, 1].map(osdId) }],
    ['acting is shorter', { acting: [0, 1].map(osdId) }],
    ['up is another while acting stays', { up: [0, 1, 3].map(osdId) }],
  ])('when %s', (_reason, next) => {
    expect(begins(next)).toBe(true)
  })

  test.each<[string, Partial<Pool>]>([
    ['size', { size: 2 }],
    ['min_size', { minSize: 1 }],
    ['pg_num', { pgNum: 16 }],
  ])('when the %s of the pool changes', (_what, next) => {
    expect(begins({}, next)).toBe(true)
  })

  test('when the pool is gone', () => {
    expect(isNewInterval({ mapping, pool }, { mapping, pool: undefined })).toBe(true)
  })
})

test.each<[string, Partial<Pool>]>([
  ['the name', { name: 'other' }],
  ['an option', { options: new Map([['a', 'b']]) }],
  ['the applications', { applications: ['block'] }],
])('%s of the pool does not end an interval, nor does nothing at all', (_what, next) => {
  expect(begins({}, next)).toBe(false)
  expect(begins({ up: [...set], acting: [...set] })).toBe(false)
})
