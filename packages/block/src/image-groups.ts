/**
 * Groups of images of one pool, whose snapshots are taken at one moment: what a database wrote to its log and then to its
 * tables, on two images, is in the snapshot of the group in that order, or not at all.
 *
 * Whoever changes a group holds the lock of its object, and each change proves that it still does. A group snapshot:
 * 1. its record, `incomplete`, with the images it is to have;
 * 2. all images are paused (image-pause.ts);
 * 3. each gets a snapshot, in an operation that proves that it is paused still;
 * 4. the record says `complete`; the images go on.
 * One moment: when the first image got its snapshot all were paused, and each was until it got its own. So no write was
 * acknowledged in between, and what was begun after it is in none of them.
 *
 * A crash at any step before 4 leaves a record that is incomplete. It is shown as that, and the next who changes the snapshots of
 * the group takes it away with what the images have of it. A removal says `removing` first, for the same reason.
 */
import { ClusterError, type Env, emptyBytes, hexEncode, isClusterError, utf8Decode, utf8Encode } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import {
  contentOf,
  type GroupContent,
  type GroupSnapshot,
  groupDirectoryName,
  groupObjectName,
  memberKey,
  memberSnapshotName,
  putSnapshot,
  snapshotKey,
} from './group-record.ts'
import { checkImageName } from './image-directory.ts'
import { type ImageHeader, readHeader } from './image-header.ts'
import { type Pause, pauseImage } from './image-pause.ts'
import type { ImageStore } from './image-store.ts'
import { type ChannelIo, type Fencer, ifThere } from './object-io.ts'
import { omapEntries, omapValue } from './omap.ts'

const imagesMax = 64
const snapshotsMax = 256
/** Long enough to pause all images one beside the other, and to give each its snapshot. */
const pauseMs = 10_000
const lockName = 'block_group'
/** After a crash the next one waits so long. */
const lockMs = 60_000

export interface GroupServices {
  readonly env: Pick<Env, 'clock' | 'random' | 'timers'>
  readonly io: ChannelIo
  readonly fencer: Fencer
  readonly store: ImageStore
}

export interface ImageGroup extends GroupContent {
  readonly id: string
  readonly name: string
}

const namePrefix = 'name_'
const nameKey = (name: string): Uint8Array => utf8Encode(`${namePrefix}${name}`)

export class ImageGroups {
  private readonly services: GroupServices

  constructor(services: GroupServices) {
    this.services = services
  }

  /** EEXIST when the name is taken. A crash between the two steps leaves an object that nobody names. */
  async create(name: string): Promise<void> {
    checkImageName(name, 'a group')
    const { env, io } = this.services
    const id = hexEncode(env.random.bytes(8))
    await io.execute(groupObjectName(id), [{ kind: 'create', exclusive: true }])
    try {
      await io.execute(groupDirectoryName, [
        { kind: 'compare-omap', key: nameKey(name), mode: 'equal', value: emptyBytes },
        { kind: 'omap-set', entries: [{ key: nameKey(name), value: utf8Encode(id) }] },
      ])
    } catch (error) {
      if (!isClusterError(error, 'ECANCELED')) throw error
      await io.execute(groupObjectName(id), [{ kind: 'remove' }])
      throw new ClusterError('EEXIST', `there is a group ${name} already`, { hint: 'shoal block group ls' })
    }
  }

  /** EBUSY while it has snapshots; its images stay. */
  async remove(name: string): Promise<void> {
    await this.change(name, async (group, guard) => {
      if (group.snapshots.length > 0) {
        throw new ClusterError('EBUSY', `group ${name} has ${group.snapshots.length} snapshots`, {
          hint: `shoal block group snap ls ${name}`,
        })
      }
      const { io } = this.services
      await io.execute(groupDirectoryName, [{ kind: 'omap-remove', keys: [nameKey(name)] }])
      await io.execute(groupObjectName(group.id), [guard, { kind: 'remove' }])
    })
  }

  async list(): Promise<readonly string[]> {
    const entries = await ifThere(omapEntries(this.services.io, groupDirectoryName, namePrefix))
    return [...(entries?.keys() ?? [])]
  }

  /** ENOENT when there is no such group. */
  async info(name: string): Promise<ImageGroup> {
    const { io } = this.services
    const id = await this.idOf(name)
    return { id, name, ...contentOf(await omapEntries(io, groupObjectName(id), '')) }
  }

  /** EEXIST when it is one of them already. */
  async addImage(name: string, image: string): Promise<void> {
    const { id } = await this.services.store.info(image)
    await this.change(name, async (group, guard) => {
      if (group.images.includes(id))
        throw new ClusterError('EEXIST', `${image} is in group ${name} already`, {
          hint: `shoal block group image ls ${name}`,
        })
      if (group.images.length >= imagesMax)
        throw new ClusterError('EDQUOT', `a group has at most ${imagesMax} images`, {
          hint: 'make another group',
        })
      const entries = [{ key: memberKey(id), value: emptyBytes }]
      await this.services.io.execute(groupObjectName(group.id), [guard, { kind: 'omap-set', entries }])
    })
  }

  /** What the image has of the group's snapshots stays. Also by its id, when the image is gone. */
  async removeImage(name: string, image: string): Promise<void> {
    await this.change(name, async (group, guard) => {
      const id = group.images.includes(image) ? image : (await this.services.store.info(image)).id
      if (!group.images.includes(id))
        throw new ClusterError('ENOENT', `${image} is not in group ${name}`, {
          hint: `shoal block group image ls ${name}`,
        })
      await this.services.io.execute(groupObjectName(group.id), [guard, { kind: 'omap-remove', keys: [memberKey(id)] }])
    })
  }

  /** Resolves when all images have it, as of one moment. EBUSY, ECANCELED: it was not taken, and nothing is left of it. */
  async createSnapshot(name: string, snapshotName: string): Promise<GroupSnapshot> {
    checkImageName(snapshotName, 'a snapshot')
    return this.change(name, async (group, guard) => {
      await this.clean(group, guard)
      checkRoom(group, snapshotName)
      const { env, io } = this.services
      const headers = await Promise.all(group.images.map(async (id) => (await readHeader(io, id)).header))
      const snapshot: GroupSnapshot = {
        id: hexEncode(env.random.bytes(8)),
        name: snapshotName,
        state: 'incomplete',
        createdMs: env.clock.wallMs(),
        images: group.images,
      }
      await io.execute(groupObjectName(group.id), [guard, putSnapshot(snapshot)])
      try {
        return await this.snapshotAll(group, guard, snapshot, headers)
      } catch (error) {
        await this.discard(group, guard, snapshot)
        throw error
      }
    })
  }

  /** Its images lose it; run again after an interruption it goes on. */
  async removeSnapshot(name: string, snapshotName: string): Promise<void> {
    await this.change(name, async (group, guard) => {
      await this.discard(group, guard, snapshotOf(group, snapshotName))
    })
  }

  /**
   * Makes the images what they were, one after the other; done again after an interruption it goes on. Detach them first:
   * while some are rolled back, writes to others go on. EBUSY for a snapshot that is not complete.
   */
  async rollback(name: string, snapshotName: string, onImage: (done: number, total: number) => void): Promise<void> {
    const { io, store } = this.services
    const group = await this.info(name)
    const snapshot = snapshotOf(group, snapshotName)
    if (snapshot.state !== 'complete') {
      throw new ClusterError('EBUSY', `snapshot ${snapshotName} of group ${name} is ${snapshot.state}`)
    }
    for (const [i, id] of snapshot.images.entries()) {
      const { header } = await readHeader(io, id)
      await store.rollback(header.name, memberSnapshotName(snapshot))
      onImage(i + 1, snapshot.images.length)
    }
  }

  private async snapshotAll(
    group: ImageGroup,
    guard: ObjectOp,
    snapshot: GroupSnapshot,
    headers: readonly ImageHeader[],
  ): Promise<GroupSnapshot> {
    const { io, store } = this.services
    const pauses = await this.pauseAll(headers)
    try {
      for (const [i, header] of headers.entries()) {
        await store.snapshots.add(header, memberSnapshotName(snapshot), 'group', [(pauses[i] as Pause).guard])
      }
      const complete: GroupSnapshot = { ...snapshot, state: 'complete' }
      await io.execute(groupObjectName(group.id), [guard, putSnapshot(complete)])
      return complete
    } finally {
      await Promise.all(pauses.map((pause) => pause.end()))
    }
  }

  /** All, or none. */
  private async pauseAll(headers: readonly ImageHeader[]): Promise<readonly Pause[]> {
    const { env, io, fencer } = this.services
    const settled = await Promise.allSettled(headers.map(({ id }) => pauseImage({ env, io, fencer, pauseMs }, id)))
    const pauses = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const failed = settled.find((one) => one.status === 'rejected')
    if (failed === undefined) return pauses
    await Promise.all(pauses.map((pause) => pause.end()))
    throw failed.reason
  }

  /** What was interrupted, of whoever it was. */
  private async clean(group: ImageGroup, guard: ObjectOp): Promise<void> {
    for (const snapshot of group.snapshots) {
      if (snapshot.state !== 'complete') await this.discard(group, guard, snapshot)
    }
  }

  private async discard(group: ImageGroup, guard: ObjectOp, snapshot: GroupSnapshot): Promise<void> {
    const { io, store } = this.services
    await io.execute(groupObjectName(group.id), [guard, putSnapshot({ ...snapshot, state: 'removing' })])
    for (const id of snapshot.images) {
      try {
        const { header } = await readHeader(io, id)
        await store.snapshots.remove(header.name, memberSnapshotName(snapshot), 'group')
      } catch (error) {
        // It has none, or is gone.
        if (!isClusterError(error, 'ENOENT')) throw error
      }
    }
    await io.execute(groupObjectName(group.id), [guard, { kind: 'omap-remove', keys: [snapshotKey(snapshot)] }])
  }

  private async idOf(name: string): Promise<string> {
    checkImageName(name, 'a group')
    const id = await ifThere(omapValue(this.services.io, groupDirectoryName, nameKey(name)))
    if (id !== undefined) return utf8Decode(id)
    throw new ClusterError('ENOENT', `there is no group ${name}`, { hint: 'shoal block group ls' })
  }

  /** Alone: EBUSY while somebody else changes the group. The guard proves in front of each step that this still holds. */
  private async change<T>(name: string, task: (group: ImageGroup, guard: ObjectOp) => Promise<T>): Promise<T> {
    const { env, io } = this.services
    const object = groupObjectName(await this.idOf(name))
    const cookie = hexEncode(env.random.bytes(8))
    const lock = { name: lockName, mode: 'exclusive', cookie, tag: '' } as const
    try {
      await io.execute(object, [
        { kind: 'assert-exists' },
        { kind: 'lock', ...lock, description: '', durationMs: lockMs, renew: 'no' },
      ])
    } catch (error) {
      if (!isClusterError(error, 'EBUSY')) throw error
      throw new ClusterError('EBUSY', `group ${name} is being changed by somebody else`, {
        cause: error,
        retry: true,
        hint: `wait, ${lockMs / 1000} s if that one has died`,
      })
    }
    try {
      return await task(await this.info(name), { kind: 'assert-locked', ...lock })
    } finally {
      await io.execute(object, [{ kind: 'unlock', name: lockName, cookie }]).catch((error: unknown) => {
        // It goes with the group, and by itself.
        if (!isClusterError(error)) throw error
      })
    }
  }
}

function snapshotOf(group: ImageGroup, name: string): GroupSnapshot {
  const found = group.snapshots.find((snapshot) => snapshot.name === name)
  if (found !== undefined) return found
  throw new ClusterError('ENOENT', `group ${group.name} has no snapshot ${name}`, {
    hint: `shoal block group snap ls ${group.name}`,
  })
}

function checkRoom({ name, images, snapshots }: ImageGroup, snapshotName: string): void {
  if (images.length === 0) {
    throw new ClusterError('EINVAL', `group ${name} has no images`, {
      hint: `shoal block group image add ${name} IMAGE`,
    })
  }
  const complete = snapshots.filter(({ state }) => state === 'complete')
  if (complete.some((snapshot) => snapshot.name === snapshotName)) {
    throw new ClusterError('EEXIST', `group ${name} has a snapshot ${snapshotName} already`, {
      hint: `shoal block group snap ls ${name}`,
    })
  }
  if (complete.length >= snapshotsMax)
    throw new ClusterError('EDQUOT', `a group has at most ${snapshotsMax} snapshots`, {
      hint: `shoal block group snap rm ${name} SNAPSHOT`,
    })
}
