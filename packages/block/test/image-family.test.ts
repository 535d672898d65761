/**
 * A family of images against arrays of bytes: clones of clones, their snapshots, rollbacks, flattening, resizing, and the
 * removal of what others depend on, in any order. What each image and each of its snapshots shows is checked at the end, and what is left when all are removed.
 */
import type { Image, ImageStore } from '@shoal/block'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesOf, objectBytes, storeOn } from './image-fixture.ts'
import { MemoryObjects } from './memory-objects.ts'

interface Member {
  readonly name: string
  readonly image: Image
  disk: Uint8Array
  /** Bytes by name; of a snapshot that was removed, too, while a clone depends on it. */
  readonly snapshots: Map<string, Uint8Array>
}

const kinds = [
  ...Array.from({ length: 6 }, () => 'write' as const),
  'discard',
  'discard',
  'zero',
  'snap',
  'snap',
  'clone',
  'clone',
  'remove-snap',
  'rollback',
  'flatten',
  'resize',
] as const

interface Action {
  readonly kind: (typeof kinds)[number]
  readonly which: number
  readonly pick: number
  readonly at: number
  readonly length: number
  readonly byte: number
}

const edges = fc.oneof(
  fc.nat(objectBytes * 4),
  fc.nat(4).map((i) => i * objectBytes),
)
const anyAction: fc.Arbitrary<Action> = fc.record({
  kind: fc.constantFrom(...kinds),
  which: fc.nat(100),
  pick: fc.nat(100),
  at: edges,
  length: edges,
  byte: fc.integer({ min: 1, max: 255 }),
})

class Family {
  readonly members: Member[] = []
  private readonly store: ImageStore
  private count = 0

  constructor(store: ImageStore) {
    this.store = store
  }

  async add(name: string, disk: Uint8Array): Promise<void> {
    this.members.push({ name, image: await this.store.open(name), disk, snapshots: new Map() })
  }

  async act({ kind, which, pick, at, length: asked, byte }: Action): Promise<void> {
    const { store } = this
    const member = this.members[which % this.members.length] as Member
    const { name, image, disk } = member
    const length = Math.max(0, Math.min(asked, disk.length - at))
    const snapshot = [...member.snapshots.keys()][pick % Math.max(1, member.snapshots.size)]
    switch (kind) {
      case 'write':
        await image.write(Math.min(at, disk.length), new Uint8Array(length).fill(byte))
        disk.fill(byte, at, at + length)
        return
      case 'discard':
      case 'zero':
        if (kind === 'discard') await image.discard(Math.min(at, disk.length), length)
        else await image.writeZeroes(Math.min(at, disk.length), length, false)
        disk.fill(0, at, at + length)
        return
      case 'snap':
        await store.snapshots.create(name, `s${++this.count}`)
        await image.refresh()
        member.snapshots.set(`s${this.count}`, disk.slice())
        return
      case 'clone':
        if (snapshot === undefined || this.members.length > 6) return
        await store.clones.create(
          `image-${++this.count}`,
          { image: name, snapshot },
          { objectBytes: objectBytes * 2 ** (pick % 2) },
        )
        return this.add(`image-${this.count}`, (member.snapshots.get(snapshot) as Uint8Array).slice())
      case 'remove-snap':
        if (snapshot === undefined) return
        await store.snapshots.remove(name, snapshot)
        member.snapshots.delete(snapshot)
        return
      case 'rollback':
        if (snapshot === undefined) return
        await store.rollback(name, snapshot)
        member.disk = (member.snapshots.get(snapshot) as Uint8Array).slice()
        return image.refresh()
      case 'flatten':
        if ((await store.info(name)).parent?.state !== 'linked') return
        await store.clones.flatten(name)
        // Half of the time the image learns of it only by and by.
        return byte % 2 === 0 ? image.refresh() : undefined
      case 'resize': {
        await store.resize(name, at + 1)
        member.disk = new Uint8Array(at + 1)
        member.disk.set(disk.subarray(0, at + 1))
        return image.refresh()
      }
    }
  }

  async check(): Promise<void> {
    for (const { name, image, disk, snapshots } of this.members) {
      expect(Buffer.compare(await bytesOf(image), disk)).toBe(0)
      for (const [snapshot, bytes] of snapshots) {
        expect(Buffer.compare(await bytesOf(await this.store.open(`${name}@${snapshot}`)), bytes)).toBe(0)
      }
      await checkHoles(image, disk)
    }
  }

  /** What a reader of `from` has who is told of the changes is what `to` shows. */
  async checkDiffs(): Promise<void> {
    for (const { name, disk, snapshots } of this.members) {
      const states: (readonly [string | undefined, Uint8Array])[] = [...snapshots, [undefined, disk]]
      let [from, base]: readonly [string | undefined, Uint8Array] = [undefined, new Uint8Array()]
      for (const [to, bytes] of states) {
        const result = new Uint8Array(bytes.length)
        result.set(base.subarray(0, bytes.length))
        for await (const { offset, length, kind } of this.store.diff(name, from, to)) {
          if (kind === 'data') result.set(bytes.subarray(offset, offset + length), offset)
          else result.fill(0, offset, offset + length)
        }
        expect(Buffer.compare(result, bytes)).toBe(0)
        ;[from, base] = [to, bytes]
      }
    }
  }

  /** Parents before their clones, as nobody should have to think of it. */
  async removeAll(): Promise<void> {
    for (const { name } of this.members) await this.store.snapshots.purge(name)
    for (const { name } of this.members.toReversed()) {
      const children = await this.store.clones.children(name)
      expect(children).toEqual([])
      await this.store.remove(name)
    }
  }
}

async function checkHoles(image: Image, disk: Uint8Array): Promise<void> {
  let at = 0
  for (const { length, allocated } of await image.extents(0, image.sizeBytes)) {
    if (!allocated) expect(disk.subarray(at, at + length).every((byte) => byte === 0)).toBe(true)
    at += length
  }
  expect(at).toBe(disk.length)
}

/** A written image, a clone of it with a part of its own, and a snapshot of that. */
const beginning: readonly Action[] = [
  { kind: 'write', which: 0, pick: 0, at: 0, length: objectBytes * 3, byte: 7 },
  { kind: 'snap', which: 0, pick: 0, at: 0, length: 0, byte: 1 },
  { kind: 'clone', which: 0, pick: 0, at: 0, length: 0, byte: 1 },
  { kind: 'write', which: 1, pick: 0, at: 100, length: 10, byte: 8 },
  { kind: 'snap', which: 1, pick: 0, at: 0, length: 0, byte: 1 },
]

test('each image and each snapshot shows what it should, and nothing is left in the end', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyAction, { maxLength: 16, size: 'max' }), async (actions) => {
      const io = new MemoryObjects()
      const store = storeOn(io)
      const family = new Family(store)
      await store.create('first', objectBytes * 3 + 500, objectBytes)
      await family.add('first', new Uint8Array(objectBytes * 3 + 500))
      for (const action of [...beginning, ...actions]) await family.act(action)
      await family.check()
      await family.checkDiffs()
      await family.removeAll()
      expect([...io.objects.keys()]).toEqual(['block_directory'])
      expect(io.snapshots.cloneCount).toBe(0)
    }),
    { numRuns: 400 },
  )
}, 60_000)
