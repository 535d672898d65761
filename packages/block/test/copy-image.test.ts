/** Copies of images: the same bytes, and nothing in common. */
import { copyImage } from '@shoal/block'
import { expect, test } from 'vitest'
import { bytesOf, objectBytes, storeOn } from './image-fixture.ts'
import { MemoryObjects } from './memory-objects.ts'

const filled = (byte: number): Uint8Array => new Uint8Array(objectBytes).fill(byte)

test('a copy of a clone has its bytes and its snapshots, when the clone and its parent are gone', async () => {
  const [store, other] = [storeOn(new MemoryObjects()), storeOn(new MemoryObjects())]
  await store.create('parent', objectBytes * 3, objectBytes)
  await (await store.open('parent')).write(0, filled(1))
  await store.snapshots.create('parent', 'one')
  await store.clones.create('child', { image: 'parent', snapshot: 'one' })
  await (await store.open('child')).write(objectBytes, filled(2))
  await store.snapshots.create('child', 'own')
  await (await store.open('child')).write(0, filled(3))
  const [now, then] = [await bytesOf(store, 'child'), await bytesOf(store, 'child@own')]
  await copyImage(store, 'child', other, 'whole')
  await copyImage(store, 'child@own', other, 'part')
  await expect(copyImage(store, 'child', other, 'part')).rejects.toMatchObject({ code: 'EEXIST' })
  await store.snapshots.purge('child')
  await store.remove('child')
  expect(await bytesOf(other, 'whole')).toEqual(now)
  expect(await bytesOf(other, 'whole@own')).toEqual(then)
  expect(await bytesOf(other, 'part')).toEqual(then)
  expect((await other.info('part')).snapshots?.entries ?? []).toEqual([])
  expect((await other.info('part')).parent).toBeUndefined()
  // What was never written is a hole in the copy, too.
  expect(await (await other.open('part')).extents(objectBytes * 2, objectBytes)).toEqual([
    { length: objectBytes, allocated: false },
  ])
})

test('a copy of an empty image is one', async () => {
  const store = storeOn(new MemoryObjects())
  await store.create('empty', objectBytes * 3, objectBytes)
  await copyImage(store, 'empty', store, 'copy')
  expect(await store.usage('copy')).toMatchObject({ sizeBytes: objectBytes * 3, usedBytes: 0 })
})
