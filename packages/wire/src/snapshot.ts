/**
 * Snapshots as operations name them. docs/mechanisms/snapshots.md
 *
 * A snapshot is a number that the monitors gave. An object is not touched when one is taken: the first write afterwards
 * clones it, in the same transaction. All that is known of an object's clones is its snapset.
 */
import { array, type ByteReader, type ByteWriter, type Codec, f64, struct, u32, u64 } from '@shoal/base'
import { headSnap, type ObjectId } from './object-id.ts'

/** Where the snapset of an object lies that is removed, but has clones: between them and where the head would be. */
export const snapDirSnap: number = headSnap - 1

/** For which snapshots a write counts: their ids, newest first, and the newest id that the writer knows of. */
export interface SnapContext {
  readonly seq: number
  readonly snaps: readonly number[]
}

/** In bytes, both ends of an object's data. */
export interface ByteSpan {
  readonly offset: number
  readonly length: number
}

export interface SnapClone {
  /** The newest snapshot that it serves. */
  readonly id: number
  /** All that it serves, newest first. */
  readonly snaps: readonly number[]
  readonly sizeBytes: number
  /** What it has in common with the next newer clone, or with the head: nobody has written there since. */
  readonly overlap: readonly ByteSpan[]
}

export interface SnapSet {
  /** Of the context in which the object was written last. */
  readonly seq: number
  /** Oldest first. */
  readonly clones: readonly SnapClone[]
}

/** What `list-snaps` answers. */
export interface ObjectSnaps extends SnapSet {
  /** Undefined: the object itself is removed. */
  readonly headBytes: number | undefined
}

const spansCodec: Codec<readonly ByteSpan[]> = array(struct<ByteSpan>({ offset: u32(), length: u32() }))
const idsCodec: Codec<readonly number[]> = array(u64())

/** The body of the attribute on the head, or on what stands for it. */
export const snapSetCodec: Codec<SnapSet> = struct<SnapSet>({
  seq: u64(),
  clones: array(struct<SnapClone>({ id: u64(), snaps: idsCodec, sizeBytes: u32(), overlap: spansCodec })),
})

export const snapIdsCodec: Codec<readonly number[]> = idsCodec

export const snapContextCodec: Codec<SnapContext> = struct<SnapContext>({ seq: u64(), snaps: idsCodec })

const noHead = -1

export const objectSnapsCodec: Codec<ObjectSnaps> = {
  write(writer: ByteWriter, { seq, clones, headBytes }: ObjectSnaps) {
    snapSetCodec.write(writer, { seq, clones })
    f64().write(writer, headBytes ?? noHead)
  },
  read(reader: ByteReader): ObjectSnaps {
    const { seq, clones } = snapSetCodec.read(reader)
    const headBytes = f64().read(reader)
    return { seq, clones, headBytes: headBytes === noHead ? undefined : headBytes }
  },
}

/** What is wrong with a context; undefined when it is sound. */
export function checkSnapContext({ seq, snaps }: SnapContext, snapsMax: number): string | undefined {
  if (snaps.length > snapsMax) return `a snapshot context names at most ${snapsMax} snapshots, not ${snaps.length}`
  let above = seq + 1
  for (const snap of snaps) {
    if (snap < 1 || snap >= above)
      return 'the snapshots of a context go from the newest, at most its seq, to the oldest'
    above = snap
  }
  return undefined
}

export function isClone(object: ObjectId): boolean {
  return object.snap < snapDirSnap
}

/** The object that a clone, or what stands for a removed head, belongs to. */
export function headOf(object: ObjectId): ObjectId {
  return object.snap === headSnap ? object : { ...object, snap: headSnap }
}

export function snapDirOf(object: ObjectId): ObjectId {
  return { ...object, snap: snapDirSnap }
}

export function cloneOf(object: ObjectId, snap: number): ObjectId {
  return { ...object, snap }
}
