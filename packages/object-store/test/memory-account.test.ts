/** What the changes that no checkpoint has written yet hold in memory is counted as it is, whatever a transaction did to it. */
import type { PgId } from '@shoal/base'
import type { Transaction } from '@shoal/wire'
import { expect, test } from 'vitest'
import { FileObjectStore } from '../src/index.ts'
import { FakeMachine } from './fake-machine.ts'
import { text } from './reference-store.ts'
import { objectId } from './workload.ts'

const collection = '1.0' as PgId
const object = objectId('object')
const large = 16 * 1024

test('the attributes of an object count, however often they change', async () => {
  const env = new FakeMachine(7).env()
  await FileObjectStore.create(env, '/store', { sizeBytes: 4 << 20, journalBytes: 1 << 20 })
  const store = await FileObjectStore.mount(env, '/store', {})
  const held = async (...ops: Transaction['ops']): Promise<number> => {
    await store.submit({ ops })
    return store.perf()['dirty_metadata_bytes'] as number
  }
  const xattrs = (bytes: number) =>
    ({ kind: 'set-xattrs', collection, object, xattrs: new Map([['user.x', new Uint8Array(bytes)]]) }) as const
  const header = (bytes: number) =>
    ({ kind: 'omap-set-header', collection, object, header: new Uint8Array(bytes) }) as const

  const empty = await held({ kind: 'create-collection', collection })
  const bare = await held({ kind: 'touch', collection, object })
  const named = await held(xattrs(1))
  expect(await held(xattrs(large))).toBe(named + large - 1)
  expect(await held(xattrs(1), xattrs(large), xattrs(100))).toBe(named + 99)
  expect(await held({ kind: 'remove-xattrs', collection, object, names: ['user.x'] })).toBe(bare)
  expect(await held(header(large))).toBe(bare + large)
  expect(
    await held({ kind: 'omap-set', collection, object, entries: [{ key: text('k'), value: text('v') }] }),
  ).toBeGreaterThan(bare + large)
  expect(await held({ kind: 'omap-clear', collection, object })).toBe(bare)

  await held(xattrs(large), header(large))
  const renamed = await held({ kind: 'rename', collection, object, to: objectId('another') })
  expect(renamed).toBeGreaterThan(bare + 2 * large)
  const gone = await held({ kind: 'remove', collection, object: objectId('another') })
  expect(gone).toBeGreaterThanOrEqual(empty)
  expect(gone).toBeLessThan(bare + 1024)
  await store.close()
})

test('a transaction that is refused halfway leaves the count as it was', async () => {
  const env = new FakeMachine(7).env()
  await FileObjectStore.create(env, '/store', { sizeBytes: 4 << 20, journalBytes: 1 << 20 })
  const store = await FileObjectStore.mount(env, '/store', {})
  const set = (bytes: number) =>
    ({ kind: 'set-xattrs', collection, object, xattrs: new Map([['user.x', new Uint8Array(bytes)]]) }) as const
  await store.submit({ ops: [{ kind: 'create-collection', collection }, set(100)] })
  const before = store.perf()['dirty_metadata_bytes']
  const refused = { kind: 'clone', collection, object: objectId('missing'), to: objectId('copy') } as const
  await expect(store.submit({ ops: [set(large), refused] })).rejects.toMatchObject({ code: 'EINVAL' })
  expect(store.perf()['dirty_metadata_bytes']).toBe(before)
  await store.close()
})
