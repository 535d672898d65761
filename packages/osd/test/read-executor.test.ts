/** The read steps of client operations against the real store. */
import { type ErrorCode, errorCodeOf, type PgId, type PoolId, utf8Encode } from '@shoal/base'
import { FileObjectStore } from '@shoal/object-store'
import { encodeObjectAttribute, objectAttributeName } from '@shoal/placement-group'
import { makeSimEnv } from '@shoal/testkit'
import { headSnap, noRequest, type ObjectId, type ObjectOp } from '@shoal/wire'
import { beforeAll, describe, expect, it } from 'vitest'
import { ReadExecutor, readBytesMax } from '../src/read-executor.ts'

const mebibyte = 1024 * 1024
const collection = '1.0' as PgId
const object: ObjectId = { pool: 1 as PoolId, hash: 1, namespace: '', name: 'thing', snap: headSnap }
const absent: ObjectId = { ...object, name: 'absent' }
const key = (text: string) => utf8Encode(text)
let executor: ReadExecutor

beforeAll(async () => {
  const { env } = makeSimEnv({ seed: 8 })
  await FileObjectStore.create(env, '/store', { sizeBytes: 8 * mebibyte, journalBytes: 4 * mebibyte })
  const store = await FileObjectStore.mount(env, '/store')
  const attribute = encodeObjectAttribute({
    version: { epoch: 3 as never, version: 41 },
    userVersion: 7,
    modifiedMs: 1234,
    request: noRequest,
  })
  const data = new Uint8Array(4096).fill(5)
  const entries = ['a', 'b/1', 'b/2', 'c'].map((name) => ({ key: key(name), value: key(`value of ${name}`) }))
  await store.submit({
    ops: [
      { kind: 'create-collection', collection },
      { kind: 'write', collection, object, offset: 8192, data },
      { kind: 'truncate', collection, object, sizeBytes: 20_000 },
      {
        kind: 'set-xattrs',
        collection,
        object,
        xattrs: new Map([
          [objectAttributeName, attribute],
          ['color', key('red')],
        ]),
      },
      { kind: 'omap-set', collection, object, entries },
      { kind: 'omap-set-header', collection, object, header: key('header') },
    ],
  })
  executor = new ReadExecutor(store, collection)
})

const caller = { client: 7, nowMs: 1_000 }

async function run(...ops: ObjectOp[]) {
  const outcome = await executor.execute(object, ops, caller)
  expect(outcome).toMatchObject({ errno: 0, detail: '' })
  return outcome.results
}

async function codeOf(target: ObjectId, ...ops: ObjectOp[]): Promise<ErrorCode> {
  const { errno, results } = await executor.execute(target, ops, caller)
  expect(results).toEqual([])
  return errorCodeOf(errno)
}

describe('read steps', () => {
  it('read bytes, holes as zeros, short at the end', async () => {
    const [all, end, beyond] = await run(
      { kind: 'read', offset: 8000, length: 400 },
      { kind: 'read', offset: 19_990, length: 100 },
      { kind: 'read', offset: 30_000, length: 100 },
    )
    expect(all).toEqual({ kind: 'data', data: new Uint8Array(400).fill(5, 192) })
    expect(end).toEqual({ kind: 'data', data: new Uint8Array(10) })
    expect(beyond).toEqual({ kind: 'data', data: new Uint8Array(0) })
  })

  it('read and map what is allocated', async () => {
    const range = { offset: 0, length: 20_000 }
    const [sparse, map] = await run({ kind: 'sparse-read', ...range }, { kind: 'map-extents', ...range })
    expect(sparse).toEqual({
      kind: 'extents',
      extents: [{ offset: 8192, length: 4096 }],
      data: new Uint8Array(4096).fill(5),
    })
    expect(map).toMatchObject({ extents: [{ offset: 8192, length: 4096 }] })
  })

  it('tell size, version and time, and show no attribute of the machine', async () => {
    const [stat, all, one] = await run({ kind: 'stat' }, { kind: 'get-xattrs' }, { kind: 'get-xattr', name: 'color' })
    expect(stat).toEqual({ kind: 'stat', sizeBytes: 20_000, modifiedMs: 1234, version: 7 })
    expect(all).toEqual({ kind: 'xattrs', xattrs: new Map([['color', key('red')]]) })
    expect(one).toEqual({ kind: 'data', data: key('red') })
    expect(await codeOf(object, { kind: 'get-xattr', name: objectAttributeName })).toBe('ENODATA')
  })

  it('read the omap by keys, by prefix and page by page', async () => {
    const [header, keys, prefixed, page] = await run(
      { kind: 'omap-get-header' },
      { kind: 'omap-get-keys', keys: [key('c'), key('nothing')] },
      { kind: 'omap-get-range', after: undefined, prefix: key('b/'), limit: 10 },
      { kind: 'omap-get-range', after: key('a'), prefix: new Uint8Array(0), limit: 2 },
    )
    expect(header).toEqual({ kind: 'data', data: key('header') })
    expect(keys).toMatchObject({ entries: [{ key: key('c') }], more: false })
    expect(prefixed).toMatchObject({ entries: [{ key: key('b/1') }, { key: key('b/2') }], more: false })
    expect(page).toMatchObject({ entries: [{ key: key('b/1') }, { key: key('b/2') }], more: true })
  })

  it('list the objects of the placement group', async () => {
    const [page] = await run({ kind: 'list-objects', after: undefined, limit: 10 })
    expect(page).toEqual({ kind: 'objects', objects: [object], more: false })
  })

  it('hold or end the operation with the code of the guard', async () => {
    const equal = { kind: 'compare-xattr', name: 'color', mode: 'equal', value: key('red') } as const
    await run(
      { kind: 'assert-exists' },
      { kind: 'assert-version', version: 7 },
      equal,
      { kind: 'compare-omap', key: key('a'), mode: 'greater', value: key('v') },
      { kind: 'compare-extent', offset: 19_998, data: new Uint8Array(10) },
    )
    expect(await codeOf(object, { kind: 'read', offset: 0, length: 9 }, { ...equal, mode: 'less' })).toBe('ECANCELED')
    expect(await codeOf(object, { kind: 'assert-version', version: 41 })).toBe('ERANGE')
    expect(await codeOf(object, { kind: 'compare-omap', key: key('zz'), mode: 'equal', value: key('v') })).toBe(
      'ECANCELED',
    )
    expect(await codeOf(object, { kind: 'compare-extent', offset: 0, data: key('x') })).toBe('ECANCELED')
  })

  it('answer ENOENT for what is not there, except to guards that compare with nothing', async () => {
    for (const op of [
      { kind: 'read', offset: 0, length: 1 },
      { kind: 'sparse-read', offset: 0, length: 1 },
      { kind: 'stat' },
      { kind: 'get-xattrs' },
      { kind: 'omap-get-header' },
      { kind: 'assert-exists' },
    ] as const) {
      expect(await codeOf(absent, op)).toBe('ENOENT')
    }
    const empty = { kind: 'compare-xattr', name: 'color', mode: 'equal', value: new Uint8Array(0) } as const
    expect(await executor.execute(absent, [empty], caller)).toMatchObject({ errno: 0 })
  })

  it('answer no more than fits a reply, and cut what is asked to what is there first', async () => {
    const [data] = await run({ kind: 'read', offset: 0, length: readBytesMax * 4 })
    expect(data).toMatchObject({ data: { length: 20_000 } })
  })

  it('refuse writes', async () => {
    expect(await codeOf(object, { kind: 'remove' })).toBe('EINVAL')
  })
})
