/** What clients may ask, and how they are told otherwise. */
import type { Epoch, PgId, PoolId } from '@shoal/base'
import { applyIncremental, createOsdMap, type Pool, placeObject } from '@shoal/cluster-map'
import { emptyCrushMap } from '@shoal/crush'
import { needsSpace } from '@shoal/placement-group'
import { type ClientOp, headSnap, type ObjectOp, opLimits } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import { checkClientOp } from '../src/op-check.ts'

const pool = 1 as PoolId
const created = createOsdMap('f', emptyCrushMap(), 0)
const map = applyIncremental(created, {
  fsid: 'f',
  epoch: 1 as Epoch,
  modifiedMs: 0,
  pools: new Map([[pool, { id: pool, name: 'p', pgNum: 8, pgpNum: 8 } as Partial<Pool> as Pool]]),
  blocklist: new Map([['66', 1]]),
})

function op(ops: readonly ObjectOp[], change: Partial<ClientOp> = {}): ClientOp {
  const { pgId, hash } = placeObject(map, pool, '', 'name')
  const object = { pool, hash, namespace: '', name: 'name', snap: headSnap }
  return {
    type: 'client-op',
    request: { client: 5, tid: 1 },
    oldestTid: 1,
    pgId,
    epoch: map.epoch,
    object,
    ops,
    attempt: 0,
    ...change,
  }
}

const bytes = (length: number) => new Uint8Array(length)
const codeOf = (checked: ClientOp) => checkClientOp(checked, map)?.code

describe('check of client operations', () => {
  it('lets sound ones pass', () => {
    expect(codeOf(op([{ kind: 'read', offset: 0, length: 10 }]))).toBeUndefined()
    expect(
      codeOf(
        op([
          { kind: 'create', exclusive: true },
          { kind: 'write', offset: 5, data: bytes(9) },
        ]),
      ),
    ).toBeUndefined()
    const anywhere = { ...op([]).object, hash: 3, name: '' }
    const list = op([{ kind: 'list-objects', after: undefined, limit: 5 }], { pgId: '1.3' as PgId, object: anywhere })
    expect(codeOf(list)).toBeUndefined()
  })

  it('names pools and PGs that do not exist', () => {
    expect(codeOf(op([{ kind: 'stat' }], { pgId: '9.0' as PgId }))).toBe('ENOENT')
    expect(codeOf(op([{ kind: 'stat' }], { pgId: '1.8' as PgId }))).toBe('ENOENT')
    expect(codeOf(op([{ kind: 'stat' }], { pgId: 'nonsense' as PgId }))).toBe('ENOENT')
  })

  it('refuses objects in the wrong PG, whatever hash the client claims', () => {
    const sound = op([{ kind: 'stat' }])
    const elsewhere = `1.${((Number.parseInt(sound.pgId.slice(2), 16) + 1) % 8).toString(16)}` as PgId
    expect(codeOf({ ...sound, pgId: elsewhere })).toBe('EINVAL')
    expect(codeOf({ ...sound, object: { ...sound.object, hash: sound.object.hash + 8 } })).toBe('EINVAL')
  })

  it('refuses fenced clients', () => {
    expect(codeOf(op([{ kind: 'stat' }], { request: { client: 66, tid: 1 } }))).toBe('ESHUTDOWN')
  })

  const tooMuch: readonly (readonly [string, ObjectOp[]])[] = [
    ['E2BIG', []],
    ['E2BIG', Array.from({ length: opLimits.stepsMax + 1 }, () => ({ kind: 'stat' }) as const)],
    ['E2BIG', [{ kind: 'write', offset: 0, data: bytes(opLimits.writeBytesMax + 1) }]],
    ['EFBIG', [{ kind: 'write', offset: opLimits.objectBytesMax, data: bytes(1) }]],
    ['EFBIG', [{ kind: 'truncate', sizeBytes: opLimits.objectBytesMax + 1 }]],
    ['E2BIG', [{ kind: 'set-xattr', name: 'x'.repeat(opLimits.xattrNameBytesMax + 1), value: bytes(1) }]],
    ['E2BIG', [{ kind: 'set-xattr', name: 'x', value: bytes(opLimits.xattrValueBytesMax + 1) }]],
    ['EINVAL', [{ kind: 'set-xattr', name: '_', value: bytes(1) }]],
    ['EINVAL', [{ kind: 'get-xattr', name: '' }]],
    ['E2BIG', [{ kind: 'omap-set', entries: [{ key: bytes(opLimits.omapKeyBytesMax + 1), value: bytes(1) }] }]],
    ['E2BIG', [{ kind: 'omap-set', entries: [{ key: bytes(1), value: bytes(opLimits.omapValueBytesMax + 1) }] }]],
    ['E2BIG', [{ kind: 'omap-remove', keys: Array.from({ length: opLimits.omapEntriesMax + 1 }, () => bytes(1)) }]],
    [
      'EINVAL',
      [
        { kind: 'create', exclusive: false },
        { kind: 'list-objects', after: undefined, limit: 1 },
      ],
    ],
  ]
  it.each(tooMuch)('answers %s to what is too much or makes no sense', (code, ops) => {
    expect(codeOf(op(ops))).toBe(code)
  })

  it('knows what gives space back', () => {
    expect(needsSpace([{ kind: 'remove' }])).toBe(false)
    expect(needsSpace([{ kind: 'read', offset: 0, length: 1 }])).toBe(false)
    expect(needsSpace([{ kind: 'assert-exists' }, { kind: 'truncate', sizeBytes: 0 }])).toBe(false)
    expect(needsSpace([{ kind: 'remove' }, { kind: 'append', data: bytes(1) }])).toBe(true)
  })
})
