/** What a pool remembers of its groups of images, and each group of its snapshots. Bytes: docs/formats/block-image.md */
import { type ByteReader, type ByteWriter, type Codec, decode, encode, oneOf, utf8Encode, versioned } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'

/** The pool's list of groups: omap keys `name_NAME` -> id. */
export const groupDirectoryName = 'block_groups'

export function groupObjectName(groupId: string): string {
  return `block_group.${groupId}`
}

/** `incomplete`: not all of its images have it: whoever takes one was interrupted, or is at it. */
const groupSnapshotStates = ['incomplete', 'complete', 'removing'] as const

export interface GroupSnapshot {
  readonly id: string
  readonly name: string
  readonly state: (typeof groupSnapshotStates)[number]
  readonly createdMs: number
  /** Ids of the images that belonged to the group then. */
  readonly images: readonly string[]
}

const stateCodec = oneOf(groupSnapshotStates)
const snapshotCodec: Codec<GroupSnapshot> = versioned<GroupSnapshot>(1, 1, 'group snapshot', {
  write(writer: ByteWriter, { id, name, state, createdMs, images }) {
    writer.string(id).string(name)
    stateCodec.write(writer, state)
    writer.f64(createdMs).u32(images.length)
    for (const image of images) writer.string(image)
  },
  read(reader: ByteReader) {
    const [id, name] = [reader.string(), reader.string()]
    const [state, createdMs] = [stateCodec.read(reader), reader.f64()]
    return { id, name, state, createdMs, images: Array.from({ length: reader.count() }, () => reader.string()) }
  },
})

/** Under this name each image of the group has it; people name the group's. */
export function memberSnapshotName({ id }: GroupSnapshot): string {
  return `group.${id}`
}

const memberPrefix = 'image_'
const snapshotPrefix = 'snap_'

export function memberKey(imageId: string): Uint8Array {
  return utf8Encode(`${memberPrefix}${imageId}`)
}

export function snapshotKey({ id }: Pick<GroupSnapshot, 'id'>): Uint8Array {
  return utf8Encode(`${snapshotPrefix}${id}`)
}

export function putSnapshot(snapshot: GroupSnapshot): ObjectOp {
  return { kind: 'omap-set', entries: [{ key: snapshotKey(snapshot), value: encode(snapshotCodec, snapshot) }] }
}

export interface GroupContent {
  /** Ids of its images. */
  readonly images: readonly string[]
  /** Oldest first. */
  readonly snapshots: readonly GroupSnapshot[]
}

/** Of all that the omap of a group's object has. */
export function contentOf(entries: ReadonlyMap<string, Uint8Array>): GroupContent {
  const images: string[] = []
  const snapshots: GroupSnapshot[] = []
  for (const [name, value] of entries) {
    if (name.startsWith(memberPrefix)) images.push(name.slice(memberPrefix.length))
    else if (name.startsWith(snapshotPrefix)) snapshots.push(decode(snapshotCodec, value))
  }
  return { images, snapshots: snapshots.sort((a, b) => a.createdMs - b.createdMs) }
}
