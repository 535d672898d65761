/** What was looked for in vain must be found once it is there, checkpoints or not: found missing by the simulator. */
import { utf8Encode } from '@shoal/base'
import { expect, it } from 'vitest'
import { FileObjectStore } from '../src/index.ts'
import { FakeMachine } from './fake-machine.ts'
import { collections, objectId } from './workload.ts'

it('finds keys that were missing when somebody asked, after the checkpoint that stored them', async () => {
  const env = new FakeMachine(7).env()
  await FileObjectStore.create(env, '/store', { sizeBytes: 4 << 20, journalBytes: 512 * 1024 })
  const store = await FileObjectStore.mount(env, '/store', {})
  const collection = collections[0] as (typeof collections)[number]
  const object = objectId('directory')
  const key = utf8Encode('name')
  await store.submit({
    ops: [
      { kind: 'create-collection', collection },
      { kind: 'touch', collection, object },
      // There is an omap, or nothing would be looked for in it.
      { kind: 'omap-set', collection, object, entries: [{ key: utf8Encode('other'), value: utf8Encode('1') }] },
    ],
  })
  await store.checkpoint()
  expect(await store.omapGet(collection, object, [key])).toEqual([])
  expect(await store.metaGet(collection, key)).toBeUndefined()
  const value = utf8Encode('here')
  await store.submit({
    ops: [
      { kind: 'omap-set', collection, object, entries: [{ key, value }] },
      { kind: 'meta-set', collection, entries: [{ key, value }] },
    ],
  })
  expect(await store.omapGet(collection, object, [key])).toEqual([{ key, value }])
  await store.checkpoint()
  expect(await store.omapGet(collection, object, [key])).toEqual([{ key, value }])
  expect(await store.metaGet(collection, key)).toEqual(value)
  await store.close()
})
