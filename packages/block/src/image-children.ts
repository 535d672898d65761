/**
 * Which clones a snapshot has: keys of the omap of the header of its image, one for each clone.
 *
 * 1. A clone is registered before its header is there, and that is looked up again afterwards: while it can be read, its
 *    parent knows of it.
 * 2. A registration counts while the clone's header is there and links to the snapshot. What a crash left is found by
 *    that, and cleared: where there is no header a stone is put in its place first, so that whoever is about to make
 *    it fails; and by 1 who makes it after the stone has gone finds the registration missing.
 * 3. A registration changes the entry of its snapshot (`clonesBegun`), in the same operation: whoever removes a snapshot
 *    since it has no clones replaces the header that it looked at, and fails when one was registered meanwhile.
 */
import { ClusterError, isClusterError, utf8Encode } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import { putStone, takeStone } from './header-stone.ts'
import { poolOf, readHeader, replaceHeaderOps, type StoredHeader, withEntry } from './image-header.ts'
import { type ImageSnapshot, snapshotNamed } from './image-snapshot.ts'
import { ifThere, type ObjectIo } from './object-io.ts'
import { omapEntries, omapValue } from './omap.ts'
import type { ParentLink } from './parent-link.ts'
import { headerObjectName } from './striping.ts'

const attemptsMax = 8

export interface ChildRef {
  readonly snapId: number
  readonly poolId: number
  readonly imageId: string
}

export interface ImageChild extends ChildRef {
  readonly name: string
  /** Of the snapshot that it is a clone of. */
  readonly snapshot: string
}

const prefix = 'child_'

function keyOf({ snapId, poolId, imageId }: ChildRef): Uint8Array {
  return utf8Encode(`${prefix}${snapId.toString(16).padStart(16, '0')}_${poolId}_${imageId}`)
}

/** `key`: without its prefix. */
function refOf(key: string): ChildRef {
  const match = /^([0-9a-f]{16})_(\d+)_([0-9a-f]+)$/.exec(key)
  if (match === null) throw new ClusterError('EBADMSG', `not a clone: ${prefix}${key}`)
  return { snapId: Number.parseInt(match[1] as string, 16), poolId: Number(match[2]), imageId: match[3] as string }
}

/** Its value: so far the key says all. */
const registered = Uint8Array.of(1)

/** ENOENT when the snapshot is gone or going. Resolves with its entry. */
export async function registerChild(
  io: ObjectIo,
  parentId: string,
  snapshot: string,
  child: Omit<ChildRef, 'snapId'>,
): Promise<{ readonly parent: StoredHeader; readonly snapshot: ImageSnapshot }> {
  for (let attempt = 1; ; attempt++) {
    const parent = await readHeader(io, parentId)
    const found = snapshotNamed(parent.header, snapshot)
    const changed = withEntry(parent.header, { ...found, clonesBegun: found.clonesBegun + 1 })
    const key = keyOf({ ...child, snapId: found.id })
    try {
      await io.execute(headerObjectName(parentId), [
        ...replaceHeaderOps(parent, changed),
        { kind: 'omap-set', entries: [{ key, value: registered }] },
      ])
      return { parent, snapshot: found }
    } catch (error) {
      if (!isClusterError(error, 'ECANCELED') || attempt === attemptsMax) throw error
    }
  }
}

export async function isRegistered(io: ObjectIo, parentId: string, child: ChildRef): Promise<boolean> {
  return (await omapValue(io, headerObjectName(parentId), keyOf(child))) !== undefined
}

export async function unregisterChild(io: ObjectIo, parentId: string, child: ChildRef): Promise<void> {
  const steps: readonly ObjectOp[] = [{ kind: 'assert-exists' }, { kind: 'omap-remove', keys: [keyOf(child)] }]
  await ifThere(io.execute(headerObjectName(parentId), steps))
}

/** The clones of an image's snapshots, or of one of them; clears what crashes left. */
export async function liveChildren(
  io: ObjectIo,
  parent: StoredHeader['header'],
  snapId?: number,
): Promise<readonly ImageChild[]> {
  const children: ImageChild[] = []
  for (const ref of await registrations(io, parent.id)) {
    if (snapId !== undefined && ref.snapId !== snapId) continue
    const name = await nameOfLive(poolOf(io, ref.poolId), parent.id, ref)
    const snapshot = parent.snapshots?.entries.find(({ id }) => id === ref.snapId)?.name ?? `#${ref.snapId}`
    if (name === undefined) {
      await unregisterChild(io, parent.id, ref)
      await takeStone(poolOf(io, ref.poolId), ref.imageId)
    } else children.push({ ...ref, name, snapshot })
  }
  return children
}

async function registrations(io: ObjectIo, parentId: string): Promise<readonly ChildRef[]> {
  const entries = await omapEntries(io, headerObjectName(parentId), prefix)
  return [...entries.keys()].map(refOf)
}

/** Undefined when the registration may be cleared: there is no such clone, and none can come to be. */
async function nameOfLive(pool: ObjectIo, parentId: string, ref: ChildRef): Promise<string | undefined> {
  for (;;) {
    try {
      const { name, parent } = (await readHeader(pool, ref.imageId)).header
      return linksTo(parent, parentId, ref.snapId) ? name : undefined
    } catch (error) {
      if (!isClusterError(error, 'ENOENT')) throw error
    }
    if (await putStone(pool, ref.imageId)) return undefined
  }
}

function linksTo(link: ParentLink | undefined, parentId: string, snapId: number): boolean {
  return link !== undefined && link.state !== 'left' && link.imageId === parentId && link.snapId === snapId
}
