/**
 * What people decide of an image that is mirrored: whether it is, which cluster has the primary, and what is thrown away when two
 * parted. Each can be run again after a crash.
 *
 * 1. enable: the record, then the list.
 * 2. disable: the list, then the snapshots, then the record.
 * 3. demote: the header says so, and from a header lease later nobody writes; then the last snapshot; then readers see it.
 *    In the other order a write between snapshot and header would be acknowledged, and be in no copy ever.
 * 4. promote: the header says so, and from a header lease later nobody begins to write into it;
 *    who was copying is fenced; another marker, so that nobody
 *    completes a snapshot any more; the head goes back to the last one that is complete; then the header lets people write.
 * 5. resync: the image goes, then its entry in the list: whoever mirrors makes it anew.
 */
import { ClusterError, hexEncode } from '@shoal/base'
import { headerLeaseMs } from '../image.ts'
import { changeHeader, type ImageHeader, withMirrorCopy } from '../image-header.ts'
import { hasSnapshot, rewind } from '../transfer/import-diff.ts'
import { clearMarker, readMarker, setMarker } from '../transfer/import-marker.ts'
import { type MirrorSide, refusePromotion } from './mirror-plan.ts'
import { currentHeader, type MirrorPool, notMirrored } from './mirror-pool.ts'
import { addToList, type MirrorRecord, readRecord, removeFromList, removeRecord, writeRecord } from './mirror-record.ts'

/** Other clocks may run slower than ours. */
const leaseWaitMs = headerLeaseMs * 1.05

/** Of an image that is mirrored, or is to be. ENOENT when there is none. */
export async function enableMirror(pool: MirrorPool, name: string, scheduleMs: number): Promise<MirrorRecord> {
  const header = await pool.store.info(name)
  const known = await readRecord(pool.io, header.id)
  const globalId = known?.globalId ?? hexEncode(pool.env.random.bytes(16))
  const record = { globalId, scheduleMs }
  await writeRecord(pool.io, header.id, record)
  await addToList(pool.io, globalId, header.id)
  return record
}

/** The primary becomes an image like any other; copies elsewhere stay what they were last. */
export async function disableMirror(pool: MirrorPool, name: string): Promise<void> {
  const { header, record } = await mirrored(pool, name)
  if (header.mirrorCopy !== undefined) {
    throw new ClusterError('EINVAL', `image ${name} is a copy`, {
      hint: `shoal block mirror promote --force ${name}, if it is to stay; otherwise resync or rm`,
    })
  }
  await removeFromList(pool.io, record.globalId)
  await removeMirrorSnapshots(pool, header)
  await removeRecord(pool.io, header.id)
}

/** Resolves when nobody writes it any more, and a last snapshot has all that was acknowledged. */
export async function demoteMirror(pool: MirrorPool, name: string): Promise<void> {
  const { header } = await mirrored(pool, name)
  if (header.mirrorCopy !== undefined && header.mirrorCopy.state !== 'demoting') {
    throw new ClusterError('EINVAL', `image ${name} is not the primary`, { hint: `shoal block mirror status ${name}` })
  }
  await changeHeader(pool.io, header.id, (current) =>
    current.mirrorCopy === undefined ? withMirrorCopy(current, { state: 'demoting', readable: 0 }) : current,
  )
  await pool.quiescer.changed(header)
  await waitForLease(pool)
  const { id } = await pool.store.snapshots.create(name, pool.newSnapshotName(), 'mirror')
  await changeHeader(pool.io, header.id, (current) => withMirrorCopy(current, { state: 'copying', readable: id }))
}

/**
 * The copy becomes the primary: it has what its last complete snapshot has. EBUSY when that loses what the other cluster has, or
 * when that cannot be asked (`remote` undefined), unless it is forced.
 */
export async function promoteMirror(
  pool: MirrorPool,
  name: string,
  remote: MirrorSide | undefined,
  force: boolean,
): Promise<void> {
  const { header } = await mirrored(pool, name)
  const { mirrorCopy } = header
  if (mirrorCopy === undefined) throw new ClusterError('EINVAL', `image ${name} is the primary already`)
  const side = await pool.side(header.id)
  const refused = side === undefined ? undefined : refusePromotion(side, remote)
  if (!force && refused !== undefined) {
    throw new ClusterError('EBUSY', `image ${name} cannot become the primary without loss: ${refused}`, {
      hint: 'demote the other one and wait until this one is synced; --force where that one is lost',
    })
  }
  if (mirrorCopy.state === 'copying' && mirrorCopy.readable === 0 && side?.unpublished === undefined) {
    throw new ClusterError('EAGAIN', `nothing of image ${name} is complete yet`, { hint: 'shoal block mirror status' })
  }
  await becomePrimary(pool, header)
}

async function becomePrimary(pool: MirrorPool, { id, name, mirrorCopy }: ImageHeader): Promise<void> {
  if (mirrorCopy?.state === 'demoting') {
    await changeHeader(pool.io, id, (current) => withMirrorCopy(current, undefined))
    return
  }
  await changeHeader(pool.io, id, (current) =>
    current.mirrorCopy === undefined ? current : withMirrorCopy(current, { ...current.mirrorCopy, state: 'promoting' }),
  )
  await waitForLease(pool)
  await pool.fenceOthers(id)
  const begun = await readMarker(pool.io, id, 'mirror')
  const isDone = async (): Promise<boolean> => hasSnapshot(await currentHeader(pool.io, id), begun?.to)
  if (begun !== undefined && !(await isDone())) {
    await setMarker(pool.io, id, 'mirror', { ...begun, to: undefined })
    // One that was completed before that counts: the head equals it.
    if (!(await isDone())) await rewind(pool.store, name, begun.from)
  }
  await clearMarker(pool.io, id, 'mirror')
  await changeHeader(pool.io, id, (current) => withMirrorCopy(current, undefined))
  await pool.quiescer.changed(await currentHeader(pool.io, id))
}

function waitForLease({ env }: MirrorPool): Promise<void> {
  return new Promise((resolve) => env.timers.after(leaseWaitMs, resolve))
}

/** The copy is thrown away, with all that only it has; whoever mirrors makes it anew from the primary. */
export async function resyncMirror(pool: MirrorPool, name: string): Promise<void> {
  const { header, record } = await mirrored(pool, name)
  if (header.mirrorCopy === undefined) {
    throw new ClusterError('EINVAL', `image ${name} is the primary: what only it has would be lost`, {
      hint: `shoal block mirror demote ${name}, if the one in the other cluster is to stay`,
    })
  }
  for (const snapshot of await pool.store.snapshots.list(name)) {
    if (snapshot.protected) await pool.store.snapshots.protect(name, snapshot.name, false)
    await pool.store.snapshots.remove(name, snapshot.name, snapshot.kind)
  }
  await pool.store.remove(name)
  await removeFromList(pool.io, record.globalId)
}

async function removeMirrorSnapshots(pool: MirrorPool, { name, snapshots }: ImageHeader): Promise<void> {
  for (const snapshot of snapshots?.entries ?? []) {
    if (snapshot.kind === 'mirror') await pool.store.snapshots.remove(name, snapshot.name, 'mirror')
  }
}

async function mirrored(
  pool: MirrorPool,
  name: string,
): Promise<{ readonly header: ImageHeader; readonly record: MirrorRecord }> {
  const header = await pool.store.info(name)
  const record = await readRecord(pool.io, header.id)
  if (record !== undefined) return { header, record }
  throw notMirrored(name)
}
