/**
 * Carries out what the plan says, from one cluster's pool to another's.
 *
 * Order of a copy: the marker with the snapshot it leads to, then bytes, then the snapshot, then the header says that readers
 * may see it, then the marker goes. So readers and a promotion find a complete snapshot at any time, and the marker says
 * whether the head is what that snapshot shows.
 */
import { ClusterError, isClusterError } from '@shoal/base'
import type { Image } from '../image.ts'
import { changeHeader, withMirrorCopy } from '../image-header.ts'
import { forEachIndex } from '../parallel.ts'
import { type Extent, exportDiff } from '../transfer/export-image.ts'
import { applyDiff, hasSnapshot, rewind } from '../transfer/import-diff.ts'
import { clearMarker, markerGuard, readMarker, setMarker } from '../transfer/import-marker.ts'
import { changedRole } from './mirror-copy.ts'
import { type MirrorState, type MirrorStep, planMirrorStep } from './mirror-plan.ts'
import { currentHeader, type MirrorPool, partialMirrorName } from './mirror-pool.ts'
import { addToList, listMirrored, readRecord, writeRecord } from './mirror-record.ts'
import { paced } from './paced.ts'

/** Of one image, one after the other; more would mean that steps undo each other. */
const stepsMax = 64

export interface MirrorOptions {
  /** Of data that is copied; undefined: as fast as it goes. */
  readonly bytesPerSecond?: number | undefined
  readonly onStep?: (step: MirrorStep) => void
  /** Asked between steps. */
  readonly isStopping?: () => boolean
}

export interface MirrorPoolOptions extends MirrorOptions {
  /** Images that are copied at once. */
  readonly widthMax: number
  readonly onImage: (globalId: string, outcome: MirrorState | 'stopped' | ClusterError) => void
}

/** Where to, where from, and what the image is called in both. */
interface Pair {
  readonly local: MirrorPool
  readonly remote: MirrorPool
  readonly globalId: string
  readonly localId: string
  readonly remoteId: string
  readonly localName: string
  readonly remoteName: string
}

/** Brings one image up to date; resolves with what there is to wait for. */
export async function mirrorImage(
  local: MirrorPool,
  remote: MirrorPool,
  globalId: string,
  options: MirrorOptions = {},
): Promise<MirrorState | 'stopped'> {
  for (let steps = 0; steps < stepsMax; steps++) {
    if (options.isStopping?.() === true) return 'stopped'
    const [localId, remoteId] = await Promise.all([
      listMirrored(local.io).then((list) => list.get(globalId) ?? ''),
      listMirrored(remote.io).then((list) => list.get(globalId) ?? ''),
    ])
    const [here, there] = await Promise.all([
      localId === '' ? undefined : local.side(localId),
      remoteId === '' ? undefined : remote.side(remoteId),
    ])
    const step = planMirrorStep(here, there, remote.env.clock.wallMs())
    if (step.kind === 'wait') return step.state
    options.onStep?.(step)
    const names = { localName: here?.name ?? '', remoteName: there?.name ?? '' }
    await perform({ local, remote, globalId, localId, remoteId, ...names }, step, options)
  }
  throw new ClusterError('EBUSY', `image ${globalId} changes faster than it is copied`, { retry: true })
}

async function perform(
  pair: Pair,
  step: Exclude<MirrorStep, { readonly kind: 'wait' }>,
  options: MirrorOptions,
): Promise<void> {
  const { local, remote } = pair
  switch (step.kind) {
    case 'snapshot':
      await remote.store.snapshots.create(pair.remoteName, remote.newSnapshotName(), 'mirror')
      return
    case 'create':
      return createCopy(pair)
    case 'name':
      return local.store.rename(step.from, step.to)
    case 'copy':
      return local.whileLocked(pair.localId, () => copy(pair, step, options))
    case 'publish':
      return publish(pair, step.snapshot)
    case 'prune':
      for (const name of step.local) await local.store.snapshots.remove(pair.localName, name, 'mirror')
      for (const name of step.remote) await remote.store.snapshots.remove(pair.remoteName, name, 'mirror')
      return
  }
}

async function createCopy({ local, remote, globalId, remoteId, remoteName }: Pair): Promise<void> {
  const source = await currentHeader(remote.io, remoteId)
  const record = await readRecord(remote.io, remoteId)
  const newest = source.snapshots?.entries.findLast(({ kind }) => kind === 'mirror')
  if (record === undefined || newest === undefined) return
  const partial = partialMirrorName(remoteName)
  // A crash left it before it came into the list.
  await local.store.remove(partial).catch((error: unknown) => {
    if (!isClusterError(error, 'ENOENT')) throw error
  })
  const { id } = await local.store.create(partial, newest.sizeBytes, source.objectBytes)
  await changeHeader(local.io, id, (header) => withMirrorCopy(header, { state: 'copying', readable: 0 }))
  await writeRecord(local.io, id, record)
  await addToList(local.io, globalId, id)
}

async function copy(
  { local, remote, localId, remoteId, localName, remoteName }: Pair,
  { from, to }: Extract<MirrorStep, { readonly kind: 'copy' }>,
  { bytesPerSecond }: MirrorOptions,
): Promise<void> {
  const [target, source] = [await currentHeader(local.io, localId), await currentHeader(remote.io, remoteId)]
  const begun = await readMarker(local.io, localId, 'mirror')
  const openCopy = async (): Promise<Image> => {
    const image = await local.store.open(localName)
    // From here on a change of its role ends what is written, within a header lease.
    if (image.header.mirrorCopy?.state !== 'copying') throw changedRole(image.header)
    return image
  }
  // The same snapshot has the same bytes: what is there already may stay. Another one says nothing of them. One that is
  // complete, and was only to be forgotten, is where we begin.
  const isOther = begun !== undefined && (begun.to !== to || begun.from !== from)
  if (isOther && !hasSnapshot(target, begun.to)) {
    await rewind(local.store, localName, begun.from, openCopy)
  }
  const marker = { from, to, forced: false }
  await setMarker(local.io, localId, 'mirror', marker)
  const sizeBytes = source.snapshots?.entries.find(({ name }) => name === to)?.sizeBytes
  if (sizeBytes === undefined) throw new ClusterError('ENOENT', `snapshot ${remoteName}@${to} is gone`, { retry: true })
  const extents = paced(local.env, extentsOnly(exportDiff(remote.store, remoteName, { from, to })), bytesPerSecond)
  await applyDiff(local.store, localName, sizeBytes, extents, undefined, openCopy)
  // Only while the marker is there: who promotes the copy meanwhile takes it away, and writes what this is not.
  await local.store.snapshots.add(await currentHeader(local.io, localId), to, 'mirror', [markerGuard('mirror', marker)])
}

async function* extentsOnly(records: ReturnType<typeof exportDiff>): AsyncGenerator<Extent, void, void> {
  for await (const record of records) if (record.kind === 'data' || record.kind === 'zero') yield record
}

/** The head is what the snapshot shows, and from now on readers see that. */
async function publish({ local, localId }: Pair, snapshot: string): Promise<void> {
  await changeHeader(local.io, localId, (header) => {
    const entry = header.snapshots?.entries.find(({ name, kind }) => kind === 'mirror' && name === snapshot)
    if (entry === undefined || header.mirrorCopy?.state !== 'copying') return header
    return withMirrorCopy(header, { state: 'copying', readable: entry.id })
  })
  await clearMarker(local.io, localId, 'mirror')
}

/** All images of two pools that mirror each other; what is wrong with one does not keep the others. */
export async function mirrorPool(
  local: MirrorPool,
  remote: MirrorPool,
  { widthMax, onImage, ...options }: MirrorPoolOptions,
): Promise<void> {
  const lists = await Promise.all([listMirrored(local.io), listMirrored(remote.io)])
  const ids = [...new Set(lists.flatMap((list) => [...list.keys()]))]
  const rate =
    options.bytesPerSecond === undefined ? undefined : options.bytesPerSecond / Math.min(widthMax, ids.length)
  await forEachIndex(ids.length, widthMax, async (i) => {
    const globalId = ids[i] as string
    try {
      onImage(globalId, await mirrorImage(local, remote, globalId, { ...options, bytesPerSecond: rate }))
    } catch (error) {
      // Without our own session nothing of any image can go on.
      if (!isClusterError(error) || error.code === 'ESHUTDOWN') throw error
      onImage(globalId, error)
    }
  })
}
