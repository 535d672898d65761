/**
 * How full the stores are: this OSD's own, and what its peers have told of theirs.
 *
 * The own store is measured now and then. In between, and until it is durable, every byte that was submitted counts as
 * used, so that the estimate errs on the side of full; close to a limit the store is measured again.
 *
 *     |---------------- used ----------------|-- submitted --|------ room ------|    |    |
 *     0                                                              full_ratio^    ^    ^the end
 *     clients write up to the map's full_ratio, recovery up to the failsafe ratio ---'
 *
 * Invariant 1: a client's write is never ordered when one of its copies may find no room: by then it could not be refused,
 *              only a daemon ended.
 *              - Every OSD tells every primary how much that one may have under way to it: half of its room, divided by
 *                the number of its peers. However many primaries use what they were told last, they fill half.
 *              - A primary orders a write only if all that its clients have under way, whether ordered or not, fits into
 *                what each member has told. What is answered is not under way any more, and the answer brought news.
 * Invariant 2: recovery never takes what is left for that: it has a limit of its own, and stops there.
 */
import type { Env, OsdId } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import type { ObjectStore, StoreUsage } from '@shoal/object-store'
import { type PgSpace, writeOverheadBytes } from '@shoal/placement-group'
import type { Transaction } from '@shoal/wire'
import type { OsdSettings } from './settings.ts'

const measureEveryMs = 1_000
/** Of the room, so many parts stay for what was promised before it shrank. */
const shareParts = 2
/** Measured again when what came since is more than this part of the room. */
const staleParts = 8
/** With less room than this part of the store, removals should show at once. */
const lowParts = 10
const measureLowEveryMs = 20

export interface SpaceWatchOptions {
  readonly whoami: OsdId
  /** Read at use. */
  readonly settings: Pick<OsdSettings, 'osd_failsafe_full_ratio'>
  /** Bytes that the operations of clients under way may take. */
  readonly clientBytes: () => number
}

export class SpaceWatch implements PgSpace {
  private readonly env: Env
  private readonly store: ObjectStore
  private readonly options: SpaceWatchOptions
  private measuredMs = Number.NEGATIVE_INFINITY
  /** Submitted and not durable; it may be in the measurement, too. */
  private pendingBytes = 0
  /** Durable since the measurement. */
  private committedBytes = 0
  private changed = false
  private last: StoreUsage = { totalBytes: 0, usedBytes: 0, freeBytes: 0, metadataBytes: 0 }
  private mapFullRatio = 1
  private backfillFullRatio = 1
  private peers = 1
  private readonly roomOf = new Map<OsdId, number>()

  constructor(env: Env, store: ObjectStore, options: SpaceWatchOptions) {
    this.env = env
    this.store = store
    this.options = options
  }

  /** `peers`: OSDs that may be primaries of what lies here. */
  onMap(map: OsdMap, peers: number): void {
    this.mapFullRatio = map.fullRatio
    this.backfillFullRatio = map.backfillfullRatio
    this.peers = Math.max(1, peers)
    for (const osd of this.roomOf.keys()) if (map.osds.get(osd)?.up !== true) this.roomOf.delete(osd)
  }

  /** At most a second old. */
  usage(): StoreUsage {
    if (this.env.clock.monotonicMs() - this.measuredMs >= measureEveryMs) this.measure()
    return this.last
  }

  /** The transaction went to the store. Call the result when it is durable. */
  onSubmit(transaction: Transaction): () => void {
    const bytes = spaceBytesOf(transaction)
    this.pendingBytes += bytes
    return () => {
      this.pendingBytes -= bytes
      this.committedBytes += bytes
      this.changed = true
    }
  }

  admits(members: readonly OsdId[], opBytes: number): boolean {
    const { whoami, clientBytes } = this.options
    // Its session may be gone, and with it the account of it.
    const bytes = Math.max(clientBytes(), opBytes)
    for (const osd of members) {
      const room = osd === whoami ? this.roomBelow(this.fullRatio) : (this.roomOf.get(osd) ?? Number.POSITIVE_INFINITY)
      if (room < bytes) return false
    }
    return true
  }

  hasRoomFor(bytes: number): boolean {
    return this.roomBelow(this.options.settings.osd_failsafe_full_ratio) >= bytes + writeOverheadBytes
  }

  private get fullRatio(): number {
    return Math.min(this.mapFullRatio, this.options.settings.osd_failsafe_full_ratio)
  }

  get isBackfillFull(): boolean {
    return this.roomBelow(this.backfillFullRatio) <= 0
  }

  get roomBytes(): number {
    return Math.max(0, Math.floor(this.roomBelow(this.fullRatio) / (shareParts * this.peers)))
  }

  onRoom(peer: OsdId, roomBytes: number): void {
    this.roomOf.set(peer, roomBytes)
  }

  /** For `status`. */
  summary(): { readonly roomBytes: number; readonly pendingBytes: number; readonly peers: Record<string, number> } {
    const { roomBytes, pendingBytes } = this
    return { roomBytes, pendingBytes, peers: Object.fromEntries(this.roomOf) }
  }

  private roomBelow(ratio: number): number {
    const { totalBytes } = this.usage()
    const room = this.estimate(ratio)
    const ageMs = this.env.clock.monotonicMs() - this.measuredMs
    const low = room * lowParts < totalBytes && ageMs >= measureLowEveryMs
    if (!this.changed || !(low || this.committedBytes * staleParts > room)) return room
    this.measure()
    return this.estimate(ratio)
  }

  private estimate(ratio: number): number {
    const { totalBytes, usedBytes } = this.last
    if (totalBytes === 0) return Number.POSITIVE_INFINITY
    return totalBytes * ratio - usedBytes - this.pendingBytes - this.committedBytes
  }

  private measure(): void {
    this.measuredMs = this.env.clock.monotonicMs()
    this.committedBytes = 0
    this.changed = false
    this.last = this.store.usage()
  }
}

function spaceBytesOf(transaction: Transaction): number {
  let total = 0
  for (const op of transaction.ops) if (op.kind === 'write') total += op.data.length + writeOverheadBytes
  return total
}
