/**
 * What to do next for one image that is mirrored, from what both clusters say of it. Whoever pulls executes one step, looks
 * again and plans anew; each step can be done again, so that a crash between any two costs nothing.
 *
 * Names of mirror snapshots are drawn at random where they are taken, and copied with their name: two images that have one of a
 * name were equal when it was taken.
 */

/** One cluster's image. */
export interface MirrorSide {
  readonly name: string
  readonly role: 'primary' | 'copy' | 'demoting' | 'promoting'
  readonly scheduleMs: number
  /** Mirror snapshots, oldest first; of a copy without those that are not complete. */
  readonly snapshots: readonly { readonly name: string; readonly createdMs: number }[]
  /** Snapshot to which the head is on its way; undefined: it equals the last one, or is the primary's. */
  readonly importing: string | undefined
  /** A mirror snapshot that is taken, and not readable yet. */
  readonly unpublished: string | undefined
  /** It has not got its name yet. */
  readonly isPartial: boolean
}

/** Why nothing is done. */
export type MirrorState =
  | 'synced'
  /** This side is the primary, or ahead: the other one pulls. */
  | 'source'
  | 'demoted-both'
  /** Both are primaries. */
  | 'split-brain'
  /** The copy's last snapshot is not one of the other side's: it was written after they parted. */
  | 'diverged'
  /** The other side does not mirror it any more. */
  | 'orphan'
  /** Somebody is changing this side's role, or died there: the same command again goes on. */
  | 'demoting'
  | 'promoting'

export type MirrorStep =
  | { readonly kind: 'wait'; readonly state: MirrorState }
  /** On the other side, which is the primary. */
  | { readonly kind: 'snapshot' }
  | { readonly kind: 'create' }
  /** The copy is there but for its name. */
  | { readonly kind: 'name'; readonly from: string; readonly to: string }
  | { readonly kind: 'copy'; readonly from: string | undefined; readonly to: string }
  | { readonly kind: 'publish'; readonly snapshot: string }
  /** Snapshots that nobody needs: the last that both have stays, and here the one before, for those who read it. */
  | { readonly kind: 'prune'; readonly local: readonly string[]; readonly remote: readonly string[] }

const wait = (state: MirrorState): MirrorStep => ({ kind: 'wait', state })

/** For whoever pulls from `remote` to `local`. `nowMs`: by the clock that `createdMs` came from. */
export function planMirrorStep(
  local: MirrorSide | undefined,
  remote: MirrorSide | undefined,
  nowMs: number,
): MirrorStep {
  if (local === undefined) return remote?.role === 'primary' ? createOrSnapshot(remote) : wait('source')
  if (local.role === 'demoting' || local.role === 'promoting') return wait(local.role)
  if (remote === undefined) return wait(local.role === 'copy' ? 'orphan' : 'source')
  if (local.role === 'primary') return wait(remote.role === 'primary' ? 'split-brain' : 'source')
  if (local.unpublished !== undefined) return { kind: 'publish', snapshot: local.unpublished }
  return local.isPartial ? { kind: 'name', from: local.name, to: remote.name } : planCopy(local, remote, nowMs)
}

/** A copy begins with a snapshot, so that it is made with the size of one. */
function createOrSnapshot(remote: MirrorSide): MirrorStep {
  return remote.snapshots.length === 0 ? { kind: 'snapshot' } : { kind: 'create' }
}

function planCopy(local: MirrorSide, remote: MirrorSide, nowMs: number): MirrorStep {
  const names = remote.snapshots.map(({ name }) => name)
  const base = local.snapshots.at(-1)?.name
  const newest = names.at(-1)
  if (base !== undefined && !names.includes(base)) {
    const isAhead = newest !== undefined && local.snapshots.some(({ name }) => name === newest)
    return wait(isAhead && remote.role !== 'primary' ? 'source' : 'diverged')
  }
  // What was begun is finished, if it is still there: half of it is in the head.
  const { importing } = local
  const target = importing !== undefined && importing !== base && names.includes(importing) ? importing : newest
  if (target !== undefined && target !== base) return { kind: 'copy', from: base, to: target }
  const old = {
    local: local.snapshots.slice(0, -2).map(({ name }) => name),
    remote: names.slice(0, Math.max(0, names.indexOf(base ?? ''))),
  }
  if (old.local.length > 0 || old.remote.length > 0) return { kind: 'prune', ...old }
  if (remote.role !== 'primary') return wait(remote.role === 'copy' ? 'demoted-both' : remote.role)
  const newestMs = remote.snapshots.at(-1)?.createdMs
  const isDue = newestMs === undefined || (remote.scheduleMs > 0 && nowMs - newestMs >= remote.scheduleMs)
  return isDue ? { kind: 'snapshot' } : wait('synced')
}

/** Whether the copy may become the primary without loss: why not, in words; undefined if it may. */
export function refusePromotion(local: MirrorSide, remote: MirrorSide | undefined): string | undefined {
  if (remote === undefined) return 'the other cluster does not have it'
  if (remote.role === 'primary') return 'the one in the other cluster is the primary'
  if (remote.role !== 'copy') return `the one in the other cluster is ${remote.role}`
  const newest = remote.snapshots.at(-1)?.name
  if (newest !== local.snapshots.at(-1)?.name) return 'it does not have the last bytes of the other cluster yet'
  return undefined
}
