/** Images that can be had back, and words that people keep with them. */
import { hexEncode, isClusterError, utf8Encode } from '@shoal/base'
import { describe, expect, test } from 'vitest'
import { bytesOf, dieAtEachStep, objectBytes, storeOn } from './image-fixture.ts'
import { MemoryObjects } from './memory-objects.ts'

const wallMs = 1_700_000_000_000
const ones = new Uint8Array(objectBytes).fill(1)

describe('the trash', () => {
  test('keeps an image as it is until somebody wants it back', async () => {
    const store = storeOn(new MemoryObjects())
    const { id } = await store.create('a', objectBytes, objectBytes)
    await (await store.open('a')).write(0, ones)
    await store.trash.move('a')
    expect(await store.list()).toEqual([])
    await expect(store.open('a')).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await store.trash.list()).toEqual([{ id, name: 'a', trashedMs: wallMs, keepUntilMs: wallMs }])
    // The name is free.
    await store.create('a', 1)
    await expect(store.trash.restore(id)).rejects.toMatchObject({ code: 'EEXIST' })
    expect(await store.trash.restore(id, 'b')).toBe('b')
    expect(await bytesOf(store, 'b')).toEqual(ones)
    expect(await store.trash.list()).toEqual([])
    await expect(store.trash.restore(id)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  test('removes what is due, and nothing before its time or that a clone needs', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    for (const name of ['due', 'early', 'parent']) {
      await store.create(name, objectBytes, objectBytes)
      await (await store.open(name)).write(0, ones)
    }
    await store.snapshots.create('parent', 'one')
    await store.clones.create('child', { image: 'parent', snapshot: 'one' })
    await store.snapshots.purge('parent')
    const { id } = await store.trash.move('early', 60_000)
    await store.trash.move('due')
    await store.trash.move('parent')
    expect((await store.trash.purge()).map(({ name }) => name)).toEqual(['parent'])
    expect((await store.trash.list()).map(({ name }) => name).sort()).toEqual(['early', 'parent'])
    await expect(store.trash.remove(id)).rejects.toMatchObject({ code: 'EBUSY' })
    await store.trash.remove(id, true)
    expect(await bytesOf(store, 'child')).toEqual(ones)
    await store.clones.flatten('child')
    expect(await store.trash.purge()).toEqual([])
    expect(await bytesOf(store, 'child')).toEqual(ones)
    await store.remove('child')
    expect([...io.objects.keys()].sort()).toEqual(['block_directory', 'block_trash'])
  })

  test('never removes what still has a name, wherever the move died', async () => {
    const steps = await dieAtEachStep(
      async (store) => {
        await store.create('a', objectBytes, objectBytes)
        await (await store.open('a')).write(0, ones)
      },
      (store) => store.trash.move('a'),
      async (store) => {
        const there = (await store.list()).length > 0
        await store.trash.purge()
        if (!there) return expect(await store.trash.list()).toEqual([])
        expect(await bytesOf(store, 'a')).toEqual(ones)
        for (const { id } of await store.trash.list()) expect(await store.trash.restore(id)).toBe('a')
        expect(await store.trash.list()).toEqual([])
        expect(await bytesOf(store, 'a')).toEqual(ones)
      },
    )
    expect(steps).toBe(2)
  })

  test('finishes a removal that died', async () => {
    const steps = await dieAtEachStep(
      async (store) => {
        await store.create('a', objectBytes * 2, objectBytes)
        await (await store.open('a')).write(0, ones)
        await store.trash.move('a')
      },
      (store) => store.trash.purge(),
      async (store, io) => {
        await store.trash.purge()
        expect(await store.trash.list()).toEqual([])
        expect([...io.objects.keys()].sort()).toEqual(['block_directory', 'block_trash'])
      },
    )
    expect(steps).toBe(4)
  })

  test('has records as their format page shows them', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    const { id } = await store.create('disk', 1)
    await store.trash.move('disk', 60_000)
    const stored = io.objects.get('block_trash')?.omap.get(hexEncode(utf8Encode(`id_${id}`)))?.value as Uint8Array
    expect(hexEncode(stored)).toBe('010118000000040000006469736b00008056febc784200002665febc7842')
  })
})

test('words are kept with an image, and go with it', async () => {
  const store = storeOn(new MemoryObjects())
  await store.create('a', 1)
  await store.meta.set('a', 'owner', 'röbi')
  await store.meta.set('a', 'note', '')
  expect(await store.meta.get('a', 'owner')).toBe('röbi')
  expect([...(await store.meta.list('a'))]).toEqual([
    ['note', ''],
    ['owner', 'röbi'],
  ])
  await store.meta.remove('a', 'owner')
  await expect(store.meta.get('a', 'owner')).rejects.toMatchObject({ code: 'ENODATA' })
  await expect(store.meta.remove('a', 'owner')).rejects.toMatchObject({ code: 'ENODATA' })
  await expect(store.meta.set('a', '', 'x')).rejects.toMatchObject({ code: 'EINVAL' })
  await store.remove('a')
  await store.create('a', 1)
  expect((await store.meta.list('a')).size).toBe(0)
  await expect(store.meta.get('b', 'x').catch((error: unknown) => isClusterError(error, 'ENOENT'))).resolves.toBe(true)
})
