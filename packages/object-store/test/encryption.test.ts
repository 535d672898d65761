/** An encrypted store: what lies on the disk, and who may open it. */
import { type PgId, utf8Encode } from '@shoal/base'
import { expect, test } from 'vitest'
import { FileObjectStore, fsckObjectStore, inspectStore } from '../src/index.ts'
import { compressAll } from './compress-all.ts'
import { FakeMachine } from './fake-machine.ts'
import { objectId } from './workload.ts'

const collection = '1.7' as PgId
const storeKey = new Uint8Array(32).fill(1)
const otherKey = new Uint8Array(32).fill(2)
const size = { sizeBytes: 2 << 20, journalBytes: 256 * 1024 }

/** Words that are looked for on the disk. */
const secrets = {
  name: 'name-of-the-object',
  namespace: 'namespace-of-it',
  small: 'a-small-write',
  large: 'a-large-write-of-the-body',
  zipped: 'what-is-compressed',
  xattr: 'xattr-name',
  xattrValue: 'xattr-value',
  omapKey: 'omap-key',
  omapValue: 'omap-value',
  header: 'omap-header',
  metaKey: 'record-of-the-log',
  metaValue: 'value-of-the-record',
}

async function filled(key: Uint8Array | undefined, seed: number = 5): Promise<FakeMachine> {
  const machine = new FakeMachine(seed)
  await FileObjectStore.create(machine.env(), '/store', { ...size, storeKey: key })
  const store = await FileObjectStore.mount(machine.env(), '/store', { storeKey: key, largeWriteBytes: 32_768 })
  compressAll(store, 'lz4')
  const object = { ...objectId(secrets.name), namespace: secrets.namespace }
  const long = (word: string, noise: number): Uint8Array => {
    const bytes = new Uint8Array(80_000).map((_, i) => (Math.imul(i, noise) >>> 11) & 0xff)
    for (let at = 0; at < bytes.length; at += 500) bytes.set(utf8Encode(word), at)
    return bytes
  }
  await store.submit({
    ops: [
      { kind: 'create-collection', collection },
      { kind: 'write', collection, object, offset: 10, data: utf8Encode(secrets.small) },
      { kind: 'write', collection, object, offset: 8192, data: long(secrets.large, 0x9e3779b1) },
      { kind: 'write', collection, object, offset: 262_144, data: long(secrets.zipped, 1) },
      { kind: 'set-xattrs', collection, object, xattrs: new Map([[secrets.xattr, utf8Encode(secrets.xattrValue)]]) },
      { kind: 'omap-set-header', collection, object, header: utf8Encode(secrets.header) },
      {
        kind: 'omap-set',
        collection,
        object,
        entries: [{ key: utf8Encode(secrets.omapKey), value: utf8Encode(secrets.omapValue) }],
      },
      {
        kind: 'meta-set',
        collection,
        entries: [{ key: utf8Encode(secrets.metaKey), value: utf8Encode(secrets.metaValue) }],
      },
    ],
  })
  expect(store.perf()['compress_success_count']).toBeGreaterThan(0)
  await store.checkpoint()
  await store.submit({ ops: [{ kind: 'write', collection, object, offset: 30, data: utf8Encode(secrets.small) }] })
  await store.close()
  return machine
}

/** Of the words above, those that any byte of the disk shows. */
function found(machine: FakeMachine): string[] {
  const parts: Buffer[] = []
  for (const { content } of machine.files.values()) parts.push(Buffer.from(content))
  for (const { rows } of machine.levels.values()) {
    for (const row of rows) parts.push(Buffer.from(row[0]), Buffer.from(row[1]))
  }
  const disk = Buffer.concat(parts)
  return Object.entries(secrets).flatMap(([name, word]) => (disk.includes(word) ? [name] : []))
}

/** A copy of everything that is stored. */
function picture(machine: FakeMachine): string {
  const files = [...machine.files].map(([name, { content }]) => `${name} ${Buffer.from(content).toString('base64')}`)
  const rows = [...machine.levels.values()].flatMap((level) =>
    level.rows.map(([key, value]) => `${Buffer.from(key).toString('hex')} ${Buffer.from(value).toString('base64')}`),
  )
  return [...files, ...rows].join('\n')
}

test('nothing of what was stored can be found on the disk; without encryption all of it can', async () => {
  expect(found(await filled(undefined)).sort()).toEqual(Object.keys(secrets).sort())
  expect(found(await filled(storeKey))).toEqual([])
})

test('opens with its key only, and a refusal changes nothing', async () => {
  const machine = await filled(storeKey)
  expect(await inspectStore(machine.env(), '/store')).toMatchObject({ encrypted: true })
  const before = picture(machine)
  for (const key of [undefined, otherKey]) {
    const mounting = FileObjectStore.mount(machine.env(), '/store', { storeKey: key })
    await expect(mounting).rejects.toMatchObject({ code: 'EACCES', hint: expect.stringContaining('osd key restore') })
    await expect(fsckObjectStore(machine.env(), '/store', { storeKey: key, repair: true })).rejects.toMatchObject({
      code: 'EACCES',
    })
  }
  await expect(FileObjectStore.mount(machine.env(), '/store', { storeKey: new Uint8Array(16) })).rejects.toMatchObject({
    code: 'EINVAL',
  })
  expect(picture(machine)).toBe(before)
  expect((await fsckObjectStore(machine.env(), '/store', { storeKey, deep: true })).findings).toEqual([])
})

test('a damaged key file, and one of another store, are refused', async () => {
  const machine = await filled(storeKey)
  const other = await filled(storeKey, 6)
  await other.env().disk.writeFileAtomic('/store/key', machine.file('/store/key').content)
  await expect(FileObjectStore.mount(other.env(), '/store', { storeKey })).rejects.toMatchObject({ code: 'EACCES' })
  const { content } = machine.file('/store/key')
  for (const at of [0, 4, 12, 40, content.length - 1]) {
    const bad = content.slice()
    bad[at] = (bad[at] as number) ^ 1
    await machine.env().disk.writeFileAtomic('/store/key', bad)
    await expect(FileObjectStore.mount(machine.env(), '/store', { storeKey })).rejects.toThrow()
  }
  await machine.env().disk.writeFileAtomic('/store/key', content.subarray(0, 20))
  await expect(FileObjectStore.mount(machine.env(), '/store', { storeKey })).rejects.toMatchObject({ code: 'EIO' })
  await machine.env().disk.remove('/store/key')
  await expect(FileObjectStore.mount(machine.env(), '/store', { storeKey })).rejects.toMatchObject({ code: 'EIO' })
})

test('the same bytes look different in every unit, in every record and in every store', async () => {
  const machine = new FakeMachine(8)
  const block = new Uint8Array(4096).fill(0x61)
  const seen = new Set<string>()
  let blocks = 0
  for (const path of ['/a', '/b']) {
    await FileObjectStore.create(machine.env(), path, { ...size, storeKey })
    const store = await FileObjectStore.mount(machine.env(), path, { storeKey })
    await store.submit({ ops: [{ kind: 'create-collection', collection }] })
    const object = objectId('o')
    for (let i = 0; i < 8; i++) {
      await store.submit({ ops: [{ kind: 'write', collection, object, offset: i * 4096, data: block }] })
    }
    await store.close()
    for (const [name, from] of [
      [`${path}/data`, 4096],
      [`${path}/journal`, 0],
    ] as const) {
      const { content } = machine.file(name)
      for (let at = from; at + 512 <= content.length; at += 512) {
        const sector = content.subarray(at, at + 512)
        if (sector.every((byte) => byte === 0)) continue
        seen.add(Buffer.from(sector).toString('hex'))
        blocks++
      }
    }
  }
  expect(blocks).toBeGreaterThan(200)
  expect(seen.size).toBe(blocks)
})

test('fsck tells of a damaged page, and calls nothing an orphan that only has lost its owner there', async () => {
  const machine = new FakeMachine(9)
  await FileObjectStore.create(machine.env(), '/store', { ...size, storeKey })
  const store = await FileObjectStore.mount(machine.env(), '/store', { storeKey })
  await store.submit({ ops: [{ kind: 'create-collection', collection }] })
  for (let i = 0; i < 60; i++) {
    const data = new Uint8Array(5_000).fill(i)
    await store.submit({ ops: [{ kind: 'write', collection, object: objectId(`object-${i}`), offset: 0, data }] })
  }
  await store.close()
  const level = machine.levels.get('/store/meta')
  const pages = [...(level?.rows ?? [])].filter(([key]) => String.fromCharCode(...key).startsWith('N'))
  expect(pages.length).toBeGreaterThan(4)
  for (const [, value] of pages.slice(1, 3)) value[20] = (value[20] as number) ^ 1
  const before = pages.length
  const { findings } = await fsckObjectStore(machine.env(), '/store', { storeKey, repair: true })
  expect(findings.map(({ code, severity }) => [code, severity])).toEqual(
    Array.from({ length: 2 }, () => ['PAGE_DAMAGED', 'error']),
  )
  expect(findings[0]?.message).toMatch(/records from ".*" on are lost/)
  // A repair that took them for orphans would have left a few.
  expect(level?.rows.length).toBeGreaterThanOrEqual(before)
})
