/** What every object store must do. Run it on an implementation: `describeObjectStore(name, open)`. */
import { isClusterError, type PgId } from '@shoal/base'
import type { Transaction, TransactionOp } from '@shoal/wire'
import { describe, expect, test } from 'vitest'
import type { ObjectStore } from '../src/index.ts'
import { countObject, dump, ReferenceStore, text } from './reference-store.ts'
import { objectId, Workload } from './workload.ts'

export interface OpenStore {
  readonly store: ObjectStore
  /** Closes and opens again; stores without durability give themselves back. */
  reopen(): Promise<ObjectStore>
  /** The store compresses: random transactions carry what can be. */
  readonly compressible?: boolean
}

const collection = '1.0' as PgId
const object = objectId('object')
const all = { after: undefined, prefix: text(''), limit: 100 }
const run = (store: ObjectStore, ...ops: TransactionOp[]): Promise<void> => store.submit({ ops })
const create: TransactionOp = { kind: 'create-collection', collection }
const write = (offset: number, data: Uint8Array, to = object): TransactionOp => {
  return { kind: 'write', collection, object: to, offset, data }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'none'
  } catch (error) {
    return isClusterError(error) ? error.code : String(error)
  }
}

export function describeObjectStore(name: string, open: () => Promise<OpenStore>): void {
  describe(name, () => {
    test('a write is read back at once, gaps read as zeros, a read is short at the end', async () => {
      const { store, reopen } = await open()
      const durable = run(store, create, write(10_000, text('hello')))
      expect(await store.read(collection, object, 9_998, 100)).toEqual(new Uint8Array([0, 0, ...text('hello')]))
      await durable
      expect((await store.stat(collection, object))?.sizeBytes).toBe(10_005)
      expect(await store.read(collection, object, 20_000, 5)).toHaveLength(0)
      const again = await reopen()
      expect(await again.read(collection, object, 10_000, 5)).toEqual(text('hello'))
      await again.close()
    })

    test('objects move to other collections with all they have, and go on there', async () => {
      const { store, reopen } = await open()
      const others = ['1.1', '1.2'].map((id) => id as PgId)
      const names = Array.from({ length: 150 }, (_, at) => `object-${at}`)
      await run(store, create, ...others.map((other): TransactionOp => ({ ...create, collection: other })))
      for (const [at, name] of names.entries()) {
        const to = objectId(name)
        await run(
          store,
          write(0, text(`${name} `.repeat(1 + (at % 70))), to),
          { kind: 'omap-set', collection, object: to, entries: [{ key: text('k'), value: text(name) }] },
          { kind: 'set-xattrs', collection, object: to, xattrs: new Map([['x', text(name)]]) },
        )
      }
      const indexOf = (name: string) => (Number(name.slice(7)) % 3) - 1
      const counts = await store.moveObjects(collection, others, ({ name }) => indexOf(name), countObject)
      expect(counts.map(({ objects }) => objects)).toEqual([50, 50, 50])
      const bytesOf = (index: number) =>
        names.reduce((sum, name, at) => sum + (indexOf(name) === index ? `${name} `.length * (1 + (at % 70)) : 0), 0)
      expect(counts.map(({ bytes }) => bytes)).toEqual([bytesOf(0), bytesOf(1), bytesOf(-1)])
      const check = async (now: ObjectStore): Promise<void> => {
        for (const [at, name] of names.entries()) {
          const home = others[indexOf(name)] ?? collection
          const id = objectId(name)
          expect(await now.read(home, id, 0, 1_000_000)).toEqual(text(`${name} `.repeat(1 + (at % 70))))
          expect((await now.xattrs(home, id)).get('x')).toEqual(text(name))
          expect(await now.omapGet(home, id, [text('k')])).toEqual([{ key: text('k'), value: text(name) }])
          for (const other of [collection, ...others]) {
            if (other !== home) expect(await now.stat(other, id)).toBeUndefined()
          }
        }
      }
      await check(store)
      const moved = objectId('object-1')
      await run(store, { kind: 'write', collection: others[0] as PgId, object: moved, offset: 3, data: text('new') })
      await run(store, { kind: 'remove', collection: others[1] as PgId, object: objectId('object-2') })
      const again = await reopen()
      expect(await again.read(others[0] as PgId, moved, 0, 9)).toEqual(text('objnew-1 '))
      expect(await again.stat(others[1] as PgId, objectId('object-2'))).toBeUndefined()
      expect((await again.list(others[1] as PgId, undefined, 1_000)).objects).toHaveLength(49)
      await again.close()
    })

    test('a refused transaction leaves no trace', async () => {
      const { store } = await open()
      await run(store, create, write(0, text('before')))
      const bad: Transaction = {
        ops: [
          write(0, text('after!')),
          { kind: 'clone', collection, object: objectId('absent'), to: objectId('copy') },
        ],
      }
      expect(await codeOf(store.submit(bad))).toBe('EINVAL')
      expect(await store.read(collection, object, 0, 6)).toEqual(text('before'))
      expect(await codeOf(run(store, { ...write(0, text('x')), collection: '9.9' as PgId } as TransactionOp))).toBe(
        'EINVAL',
      )
      expect(await codeOf(run(store, create))).toBe('EINVAL')
      await store.close()
    })

    test('a collection is removed only when it is empty', async () => {
      const { store } = await open()
      await run(store, create, write(0, text('x')))
      expect(await codeOf(run(store, { kind: 'remove-collection', collection }))).toBe('EINVAL')
      await run(store, { kind: 'remove', collection, object }, { kind: 'remove-collection', collection })
      expect(store.collections()).toEqual([])
      await run(store, create)
      expect((await store.list(collection, undefined, 10)).objects).toEqual([])
      await store.close()
    })

    test('a clone is independent of its source', async () => {
      const { store, reopen } = await open()
      const to = objectId('clone')
      await run(store, create, write(0, new Uint8Array(20_000).fill(1)))
      await run(store, { kind: 'omap-set', collection, object, entries: [{ key: text('k'), value: text('v') }] })
      await run(store, { kind: 'clone', collection, object, to }, write(5_000, new Uint8Array(8_192).fill(2)))
      await run(store, write(0, new Uint8Array(10).fill(3), to), { kind: 'omap-clear', collection, object })
      const again = await reopen()
      const copy = await again.read(collection, to, 0, 20_000)
      expect([copy[0], copy[10], copy[6_000]]).toEqual([3, 1, 1])
      expect((await again.read(collection, object, 0, 20_000))[6_000]).toBe(2)
      expect((await again.omapEntries(collection, to, all)).entries).toHaveLength(1)
      expect((await again.omapEntries(collection, object, all)).entries).toHaveLength(0)
      await run(again, { kind: 'remove', collection, object })
      expect((await again.read(collection, to, 6_000, 1))[0]).toBe(1)
      await again.close()
    })

    test('pages of omap, records and objects continue where they stopped', async () => {
      const { store } = await open()
      await run(store, create)
      const entries = Array.from({ length: 50 }, (_, i) => ({
        key: text(`k${String(i).padStart(3, '0')}`),
        value: text(`${i}`),
      }))
      await run(store, { kind: 'omap-set', collection, object, entries }, { kind: 'meta-set', collection, entries })
      for (let i = 0; i < 20; i++) await run(store, { kind: 'touch', collection, object: objectId(`o${i}`) })
      let after: Uint8Array | undefined
      let seen = 0
      for (let more = true; more; ) {
        const page = await store.omapEntries(collection, object, { after, prefix: text('k0'), limit: 7 })
        for (const entry of page.entries) expect(entry.value).toEqual(text(`${seen++}`))
        after = page.entries[page.entries.length - 1]?.key
        more = page.more
      }
      expect(seen).toBe(50)
      expect((await store.metaEntries(collection, text('k010'), text('k020'), 5)).entries).toHaveLength(5)
      expect(await store.metaGet(collection, text('k007'))).toEqual(text('7'))
      const first = await store.list(collection, undefined, 10)
      const rest = await store.list(collection, first.objects[9], 100)
      expect(new Set([...first.objects, ...rest.objects].map((id) => id.name)).size).toBe(21)
      expect(await codeOf(store.read(collection, objectId('none'), 0, 1))).toBe('ENOENT')
      await store.close()
    })

    for (const seed of [101, 102, 103]) {
      test(`equals the reference through random transactions and remounts, seed ${seed}`, async () => {
        const opened = await open()
        let store = opened.store
        const model = new ReferenceStore()
        const workload = new Workload(seed, 90_000, opened.compressible)
        let transaction = Workload.first()
        for (let i = 0; i < 250; i++, transaction = workload.next()) {
          const [ours, theirs] = await Promise.all([
            codeOf(store.submit(transaction)),
            codeOf(model.submit(transaction)),
          ])
          expect(ours, `transaction ${i}`).toBe(theirs)
          if (i % 25 === 24) expect(await dump(store)).toBe(await dump(model))
          if (i % 80 === 79) store = await opened.reopen()
        }
        expect(await dump(store)).toBe(await dump(model))
        await store.close()
      })
    }
  })
}
