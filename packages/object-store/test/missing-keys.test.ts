/** A key that was looked for in vain is found once it is there, also after a checkpoint has moved it out of memory. */
import type { PgId } from '@shoal/base'
import { expect, test } from 'vitest'
import { FileObjectStore } from '../src/index.ts'
import { FakeMachine } from './fake-machine.ts'
import { text } from './reference-store.ts'
import { objectId } from './workload.ts'

test('an omap key and a record that were missing are found after a checkpoint', async () => {
  const env = new FakeMachine(7).env()
  await FileObjectStore.create(env, '/store', { sizeBytes: 4 << 20, journalBytes: 512 * 1024 })
  const store = await FileObjectStore.mount(env, '/store', {})
  const collection = '1.0' as PgId
  const object = objectId('object')
  const [first, second] = [text('first'), text('second')]
  await store.submit({
    ops: [
      { kind: 'create-collection', collection },
      { kind: 'omap-set', collection, object, entries: [{ key: first, value: first }] },
    ],
  })
  expect(await store.omapGet(collection, object, [second])).toEqual([])
  expect(await store.metaGet(collection, second)).toBeUndefined()
  await store.submit({
    ops: [
      { kind: 'omap-set', collection, object, entries: [{ key: second, value: second }] },
      { kind: 'meta-set', collection, entries: [{ key: second, value: second }] },
    ],
  })
  await store.checkpoint()
  expect(await store.omapGet(collection, object, [second])).toEqual([{ key: second, value: second }])
  expect(await store.metaGet(collection, second)).toEqual(second)
  await store.close()
})
