/**
 * The seam between a placement group's state machine and the OSD that drives it: what goes in, what comes out.
 *
 * `PlacementGroup.step(input)` is synchronous and returns effects in the order in which the driver must start them.
 * Two rules bind the driver:
 * 1. `transact` effects reach the store in the order given; their `committed` inputs come back in that order.
 * 2. A `send`, `reply` or other effect never waits for an earlier `transact`; what must be durable first is expressed by the
 *    machine, which holds the effect back until the `committed` input.
 */
import type { ClusterError, Epoch, OsdId } from '@shoal/base'
import type { OsdMap, PgMapping, PgStats, QuotaAnswer, QuotaAsk } from '@shoal/cluster-map'
import type {
  ClientOp,
  ClientOpReply,
  Message,
  ObjectId,
  ObjectOp,
  ObjectOpResult,
  OmapEntry,
  Transaction,
  WatchEvent,
} from '@shoal/wire'
import type { ScrubbedObject } from './scrub-map.ts'
import type { ScrubRequest } from './scrub-schedule.ts'

/** What the machine must know of an object before it can order a write: its attributes, and the values its guards ask for. */
export interface ObjectState {
  readonly exists: boolean
  readonly sizeBytes: number
  /** Includes the machine's own attribute, which holds the object's version, last request and user-visible version. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>
  /** Values of the omap keys that were asked for; missing keys are absent. */
  readonly omap: readonly OmapEntry[]
  /** Bytes of the extents that were asked for, in order, short at the end of the object. */
  readonly extents: readonly Uint8Array[]
  /** In an erasure-coded PG: old bytes of the stripes that the write changes in part, by number. */
  readonly stripes?: ReadonlyMap<number, Uint8Array>
}

export interface LoadRequest {
  readonly object: ObjectId
  readonly omapKeys: readonly Uint8Array[]
  readonly extents: readonly { readonly offset: number; readonly length: number }[]
  /** In an erasure-coded PG: the write it is for, which may need old stripes. */
  readonly ops?: readonly ObjectOp[]
}

export type PgTimer =
  | 'lease-renew'
  | 'lease-expire'
  | 'wait-previous-lease'
  | 'recovery-retry'
  | 'peering-retry'
  | 'quota'
  | 'stats'
  | 'scrub'
  | 'scrub-chunk'
  | 'settle'
  | 'snaptrim-retry'
  | 'watch'

/** What wants the disk besides clients. */
export type BackgroundWork = 'recovery' | 'scrub' | 'snaptrim'

export type PgEffect =
  | { readonly kind: 'send'; readonly to: OsdId; readonly message: Message }
  | { readonly kind: 'reply'; readonly session: number; readonly reply: ClientOpReply }
  /** To a watcher; a session that is gone does not matter. */
  | { readonly kind: 'watch-event'; readonly session: number; readonly event: WatchEvent }
  /** The operation waits for other clients now: it is answered later, and takes no room of those that work. */
  | { readonly kind: 'park'; readonly session: number; readonly tid: number }
  /** Input `committed` with this token follows once it is durable. */
  | { readonly kind: 'transact'; readonly transaction: Transaction; readonly token: number }
  /** Input `loaded` with this token follows. Reads see every `transact` given before. */
  | { readonly kind: 'load'; readonly request: LoadRequest; readonly token: number }
  /** Runs the read steps against the store; input `read-done` follows. The machine has checked lease, object and order. */
  | {
      readonly kind: 'execute-read'
      /** Session of whose operation it is. */
      readonly client: number
      readonly object: ObjectId
      readonly ops: readonly ObjectOp[]
      readonly token: number
    }
  /** Reads a bounded piece of an object for a push (data from `offset`, omap after `omapAfter`); input `piece-read` follows. */
  | {
      readonly kind: 'read-piece'
      readonly object: ObjectId
      readonly offset: number
      readonly lengthMax: number
      readonly omapAfter: Uint8Array | undefined
      readonly omapEntriesMax: number
      readonly token: number
    }
  /** Waits for this placement group's turn at the disk, among all that use it; input `admitted` follows, at once or later. */
  | { readonly kind: 'admit'; readonly work: BackgroundWork; readonly token: number }
  /** What such work has moved; `admitted`: it had waited for its turn. */
  | { readonly kind: 'spent'; readonly work: BackgroundWork; readonly bytes: number; readonly admitted: boolean }
  /** The interval has ended: what was admitted or waits for it is of no use any more. It may still be answered. */
  | { readonly kind: 'give-back' }
  /** Lists objects after a cursor with their versions; input `scanned` follows. */
  | { readonly kind: 'scan'; readonly after: ObjectId | undefined; readonly limit: number; readonly token: number }
  /**
   * Looks at the objects of a range past all caches, for scrub; input `examined` follows. `records`: and at the group's own
   * records.
   */
  | { readonly kind: 'examine'; readonly range: ScrubRange; readonly records: boolean; readonly token: number }
  /** Lists keys of the collection's own records in [from, to), in order; input `records-listed` follows. */
  | {
      readonly kind: 'list-records'
      readonly from: Uint8Array
      readonly to: Uint8Array
      readonly limit: number
      readonly token: number
    }
  | { readonly kind: 'set-timer'; readonly timer: PgTimer; readonly delayMs: number }
  | { readonly kind: 'cancel-timer'; readonly timer: PgTimer }
  | { readonly kind: 'request-up-thru'; readonly epoch: Epoch }
  /** An empty list asks that the entry be removed. */
  | { readonly kind: 'request-pg-temp'; readonly osds: readonly OsdId[] }
  /**
   * Asks the OSD's reserver for a slot; input `reservation-granted` with this round follows, at once or later, and possibly
   * `reservation-revoked` after it. Higher priority first.
   */
  | { readonly kind: 'reserve'; readonly slot: ReservationSlot; readonly priority: number; readonly round: number }
  | { readonly kind: 'release'; readonly slot: ReservationSlot }
  | { readonly kind: 'publish-stats'; readonly stats: PgStats }
  /** To the `operator` input of this id. */
  | { readonly kind: 'operator-answer'; readonly id: number; readonly answer: OperatorAnswer }
  /** Of the monitors; input `quota-answer` follows, or never when a later ask overtakes this one. */
  | { readonly kind: 'ask-quota'; readonly ask: QuotaAsk }
  | {
      readonly kind: 'log'
      readonly level: 'debug' | 'info' | 'warn' | 'error'
      readonly message: string
      readonly cluster: boolean
    }
  /** Counters for `daemon perf`. */
  | { readonly kind: 'count'; readonly counter: string; readonly by: number }
  /** A stage of a client operation, for `daemon ops`. */
  | { readonly kind: 'mark'; readonly session: number; readonly tid: number; readonly stage: string }
  /** The PG's collection is gone from this store: drop the machine. */
  | { readonly kind: 'removed' }

/**
 * Local: this OSD recovers, or scrubs, as primary. Remote: it receives backfill or recovery, or is scrubbed, as a replica.
 * `snaptrim`: it trims removed snapshots as primary.
 */
export type ReservationSlot =
  | 'local-recovery'
  | 'local-backfill'
  | 'local-scrub'
  | 'remote-recovery'
  | 'remote-backfill'
  | 'remote-scrub'
  | 'snaptrim'

export interface ScrubRange {
  /** Exclusive; undefined: from the first object on. */
  readonly after: ObjectId | undefined
  /** Inclusive; undefined: up to the last object. */
  readonly until: ObjectId | undefined
  readonly objectsMax: number
  readonly bytesMax: number
  readonly deep: boolean
}

/** A {@link ScrubbedObject} whose version is still to be read from the machine's own attribute. */
export interface ExaminedCopy extends Omit<ScrubbedObject, 'version'> {
  readonly attribute: Uint8Array | undefined
}

export type PgInput =
  /** A newer map; `previous` is the map the machine last saw. Every epoch is given, in order. */
  | { readonly kind: 'map'; readonly map: OsdMap; readonly mapping: PgMapping }
  /** All known maps are in: the machine may act on the interval it is in now. */
  | { readonly kind: 'activate-map' }
  | { readonly kind: 'message'; readonly from: OsdId; readonly message: Message }
  | { readonly kind: 'client-op'; readonly session: number; readonly op: ClientOp }
  /** The client's session is gone: replies to it are pointless, its unordered operations may be dropped. */
  | { readonly kind: 'session-closed'; readonly session: number }
  | { readonly kind: 'committed'; readonly token: number }
  | { readonly kind: 'transact-failed'; readonly token: number; readonly errno: number; readonly detail: string }
  | { readonly kind: 'loaded'; readonly token: number; readonly state: ObjectState }
  /** errno ECHECKSUM: the copy here is bad; the machine repairs it from a replica, then retries. */
  | { readonly kind: 'load-failed'; readonly token: number; readonly errno: number; readonly detail: string }
  | {
      readonly kind: 'read-done'
      readonly token: number
      readonly errno: number
      readonly detail: string
      readonly results: readonly ObjectOpResult[]
      /** With ECHECKSUM: whose copy is bad, if it is a clone's. */
      readonly badObject?: ObjectId | undefined
    }
  | {
      readonly kind: 'piece-read'
      readonly token: number
      readonly errno: number
      readonly piece: ObjectPiece | undefined
    }
  | {
      readonly kind: 'scanned'
      readonly token: number
      readonly objects: readonly { readonly object: ObjectId; readonly attribute: Uint8Array | undefined }[]
      readonly more: boolean
    }
  | {
      readonly kind: 'records-listed'
      readonly token: number
      readonly keys: readonly Uint8Array[]
      readonly more: boolean
    }
  | {
      readonly kind: 'examined'
      readonly token: number
      /** EIO: the store's records cannot be read. */
      readonly errno: number
      readonly objects: readonly ExaminedCopy[]
      /** The last object that was looked at; undefined when that is the whole range. */
      readonly through: ObjectId | undefined
      /** Keys of the group's own records that fail their checksum. */
      readonly damagedRecords: readonly Uint8Array[]
    }
  /** An operator asks the primary. */
  | { readonly kind: 'scrub'; readonly what: ScrubRequest }
  /** Settings of the schedule of scrub have changed. */
  | { readonly kind: 'scrub-schedule' }
  | { readonly kind: 'admitted'; readonly token: number }
  | { readonly kind: 'timer'; readonly timer: PgTimer }
  /** Of the primary. Effect `operator-answer` follows at once. */
  | { readonly kind: 'operator'; readonly id: number; readonly command: OperatorCommand }
  | { readonly kind: 'quota-answer'; readonly answer: QuotaAnswer }
  /** Another monitor leads: it knows nothing of what is used and held. */
  | { readonly kind: 'quota-forgotten' }
  | { readonly kind: 'reservation-granted'; readonly slot: ReservationSlot; readonly round: number }
  /** Somebody of a higher priority has the slot now: it is gone already. */
  | { readonly kind: 'reservation-revoked'; readonly slot: ReservationSlot; readonly round: number }

/** What an operator asks of one placement group, through the admin endpoint of its primary. */
export type OperatorCommand =
  | { readonly kind: 'list-unfound' }
  | { readonly kind: 'mark-unfound-lost'; readonly mode: 'revert' | 'delete' }
  /** Before others, when slots are given out; until it is done, or cancelled. */
  | { readonly kind: 'force'; readonly what: 'recovery' | 'backfill'; readonly on: boolean }

export type OperatorAnswer =
  | { readonly kind: 'done'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly error: ClusterError }

export interface ObjectPiece {
  readonly sizeBytes: number
  readonly xattrs: ReadonlyMap<string, Uint8Array>
  readonly omapHeader: Uint8Array
  /** Allocated extents only; the rest of [offset, nextOffset) is a hole. */
  readonly extents: readonly { readonly offset: number; readonly data: Uint8Array }[]
  readonly nextOffset: number
  readonly dataDone: boolean
  readonly omap: readonly OmapEntry[]
  readonly omapDone: boolean
}
