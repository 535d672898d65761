/** What a stopped OSD's directory gives back of its cluster. */
import { type Epoch, hexEncode, isClusterError, must, osdId, type PgId, utf8Encode } from '@shoal/base'
import { applyIncremental, createOsdMap, type OsdMap } from '@shoal/cluster-map'
import { emptyCrushMap } from '@shoal/crush'
import { FileObjectStore } from '@shoal/object-store'
import { makeSimEnv, silentLog } from '@shoal/testkit'
import { expect, it } from 'vitest'
import { readOsdArchive } from '../src/index.ts'
import { keepKeyCopy } from '../src/key-copy.ts'
import { MapStore } from '../src/map-store.ts'
import { claimStore, type Superblock, storeDirectory, writeSuperblock } from '../src/superblock.ts'

const directory = '/osd.3'
const superblock: Superblock = { whoami: osdId(3), uuid: 'u', fsid: 'f', state: 'ready' }
const key = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)

async function made() {
  const { env, machine } = makeSimEnv({ seed: 1 })
  await env.disk.makeDirectory(directory)
  await writeSuperblock(env.disk, directory, superblock)
  await FileObjectStore.create(env, storeDirectory(directory), { sizeBytes: 2 ** 20, journalBytes: 2 ** 20 })
  const store = await FileObjectStore.mount(env, storeDirectory(directory))
  await claimStore(store, { ...superblock, state: 'preparing' })
  return { env, machine, store }
}

it('gives maps, pools and the newest key', async () => {
  const { env, store } = await made()
  const written = new MapStore(store, () => 500, silentLog)
  const maps: OsdMap[] = [{ ...createOsdMap('f', emptyCrushMap(), 0), epoch: 1 as Epoch }]
  for (let epoch = 2; epoch <= 50; epoch++)
    maps.push(
      applyIncremental(maps.at(-1) as OsdMap, {
        fsid: 'f',
        epoch: epoch as Epoch,
        modifiedMs: epoch,
        poolIdMax: epoch,
      }),
    )
  for (const map of maps) await written.add(map)
  await store.submit({
    ops: ['7.1', '7.a', '12.0'].map((id) => ({ kind: 'create-collection' as const, collection: id as PgId })),
  })
  await keepKeyCopy(store, key(1))
  await keepKeyCopy(store, key(2))
  await store.close()
  const archive = await readOsdArchive(env, directory)
  expect(archive).toMatchObject({ osd: 3, uuid: 'u', fsid: 'f', ready: true, key: key(2) })
  expect(archive.maps).toEqual(maps)
  expect([...archive.pools].sort((a, b) => a - b)).toEqual([7, 12])
})

it('has no key for an OSD that never ran with one, and no maps for a new one', async () => {
  const { env, store } = await made()
  await store.close()
  expect(await readOsdArchive(env, directory)).toMatchObject({ maps: [], pools: [], key: undefined })
})

it('does without a key whose copy is damaged; an OSD that knows the key writes it again', async () => {
  const { env, machine, store } = await made()
  await keepKeyCopy(store, key(1))
  await store.close()
  const disk = machine.keyValue.disk(`${storeDirectory(directory)}/meta`)
  const wanted = utf8Encode('keyring')
  const [row] = disk.entries({}).filter(([name]) => hexEncode(name).endsWith(hexEncode(wanted)))
  const [name, value] = must(row, 'a record of the key')
  disk.flip(name, value.length - 1, 4)
  expect(await readOsdArchive(env, directory)).toMatchObject({ osd: 3, key: undefined })
  const again = await FileObjectStore.mount(env, storeDirectory(directory))
  await keepKeyCopy(again, key(1))
  await again.close()
  expect(await readOsdArchive(env, directory)).toMatchObject({ key: key(1) })
})

it('opens an encrypted store with its key, and says so where that is missing or wrong', async () => {
  const { env } = makeSimEnv({ seed: 1 })
  await env.disk.makeDirectory(directory)
  await writeSuperblock(env.disk, directory, superblock)
  const sizes = { sizeBytes: 2 ** 20, journalBytes: 2 ** 20 }
  await FileObjectStore.create(env, storeDirectory(directory), { ...sizes, storeKey: key(7) })
  const store = await FileObjectStore.mount(env, storeDirectory(directory), { storeKey: key(7) })
  await claimStore(store, { ...superblock, state: 'preparing' })
  await keepKeyCopy(store, key(1))
  await store.close()
  await expect(readOsdArchive(env, directory)).rejects.toMatchObject({
    code: 'EACCES',
    message: expect.stringContaining('osd.3 is encrypted'),
    hint: expect.stringContaining('--key-backup'),
  })
  await expect(readOsdArchive(env, directory, { storeKey: () => key(8) })).rejects.toMatchObject({ code: 'EACCES' })
  const keys = new Map([['u', key(7)]])
  expect(await readOsdArchive(env, directory, { storeKey: (uuid) => keys.get(uuid) })).toMatchObject({ key: key(1) })
})

it.each([
  ['ENOENT', async () => makeSimEnv({ seed: 1 }).env],
  ['EBUSY', async () => (await made()).env],
])('rejects with %s', async (code, prepare) => {
  const error: unknown = await readOsdArchive(await prepare(), directory).catch((failure: unknown) => failure)
  expect(isClusterError(error) ? error.code : error).toBe(code)
})
