export { defaultPgSettings, type PgLeases, type PgSettings, type PgSpace } from './core.ts'
export * from './effects.ts'
export { isShardOp } from './erasure/shard-read-ops.ts'
export { memberMapping, memberOf, osdOf, placesOf, shardOf } from './member.ts'
export {
  clientAttributes,
  decodeObjectAttribute,
  encodeObjectAttribute,
  isReservedAttribute,
  type ObjectAttribute,
  objectAttributeName,
} from './object-attribute.ts'
export { type Caller, checkLockOp, lockIn, locksIn, whyNotLocked } from './object-lock.ts'
export { isTemporary } from './object-transfer.ts'
export { checkWatchOp, watchersIn } from './object-watch.ts'
export { needsSpace, spaceBytesOf, writeOverheadBytes } from './op-space.ts'
export { type PeeringPhase, peeringPhases, peeringTransitions } from './peering.ts'
export { isMergedAlready, type MergedPg, mergeCopies } from './pg-merge.ts'
export { divideSnapRecords, type PgPart, type SeedOf, type SplitPart, splitChild, splitRemainder } from './pg-split.ts'
export {
  allSnapRecords,
  clearMergeMark,
  copySnapRecords,
  cutOffMerge,
  cutOffSplit,
  distrustCopy,
  type FrozenPg,
  loadPgState,
  markMerge,
  markSplit,
  pgRecordRange,
  rewriteLog,
  type StoredPg,
} from './pg-store.ts'
export { PlacementGroup, type PlacementGroupOptions } from './placement-group.ts'
export { type ReservationCallbacks, Reserver, type ReserverSummary } from './reserver.ts'
export { scrubDamage } from './scrub-map.ts'
export { defaultScrubSettings, type ScrubRequest, type ScrubSettings, scrubRequests } from './scrub-schedule.ts'
export { countObject, noSnapSet, resolveSnap, snapSetIn, snapsIn } from './snap-set.ts'
