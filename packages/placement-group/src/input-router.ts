/** Which part of a placement group a message of a member, or news of a slot, belongs to. */
import type { OsdId } from '@shoal/base'
import type { PgInput } from './effects.ts'
import type { ObjectTransfer } from './object-transfer.ts'
import type { PeerMessage } from './peer-message.ts'
import type { PgParts } from './pg-report.ts'
import type { Replica } from './replica.ts'
import type { ScrubMember } from './scrub-member.ts'
import type { ScrubMessage } from './scrub-message.ts'

type Of<K extends PeerMessage['kind']> = Extract<PeerMessage, { kind: K }>

export interface RoutedParts extends PgParts {
  readonly replica: Replica
  readonly transfer: ObjectTransfer
  readonly scrubMember: ScrubMember
}

/** What concerns the placement group as a whole. */
export interface RouterEvents {
  onInfo(from: OsdId, message: Of<'info'>): void
  onRemove(): void
}

export class InputRouter {
  private readonly parts: RoutedParts
  private readonly events: RouterEvents

  constructor(parts: RoutedParts, events: RouterEvents) {
    this.parts = parts
    this.events = events
  }

  onMessage(from: OsdId, message: PeerMessage): void {
    const { core, peering, replica, transfer, clientIo } = this.parts
    switch (message.kind) {
      case 'query-info':
        return replica.sendInfo(from)
      case 'info':
        return this.events.onInfo(from, message)
      case 'query-log':
        return replica.onQueryLog(from, message)
      case 'log':
        return peering.onLog(from, message)
      case 'activate':
        return replica.onActivate(from, message)
      case 'activated':
        core.space.onRoom(from, message.roomBytes)
        return peering.onActivated(from)
      case 'history':
        return replica.onHistory(message)
      case 'replicate':
        return replica.onReplicate(from, message)
      case 'replicated':
        core.space.onRoom(from, message.roomBytes)
        return clientIo.onCommitted(message.tid, from)
      case 'pull':
        return transfer.onPull(from, message)
      case 'piece':
        return transfer.onPiece(from, message)
      case 'remove':
        return this.events.onRemove()
      case 'scrub':
        return this.onScrubMessage(from, message.message)
      case 'sub-write':
      case 'sub-read':
      case 'sub-read-reply':
      case 'rebuild':
      case 'bad-shard':
      case 'shard-activated':
        return this.parts.backend.onMessage(from, message)
      default:
        return this.onRecoveryMessage(from, message)
    }
  }

  private onRecoveryMessage(
    from: OsdId,
    message: Of<
      | 'recover'
      | 'recovered'
      | 'scan'
      | 'scanned'
      | 'backfilled'
      | 'backfill-stored'
      | 'reserve'
      | 'reserved'
      | 'release'
    >,
  ): void {
    const { core, replica, recovery, backfill } = this.parts
    switch (message.kind) {
      case 'recover':
        return replica.onRecover(from, message)
      case 'recovered':
        if (!backfill.onRecovered(from, message.object, message.errno, message.bytes)) {
          recovery.onRecovered(from, message.object, message.errno, message.bytes)
        }
        return
      case 'scan':
        return replica.onScan(from, message)
      case 'scanned':
        return backfill.onScanned(from, message)
      case 'backfilled':
        return replica.onBackfilled(from, message)
      case 'backfill-stored':
        return backfill.onStored(from, message.info)
      case 'reserve':
        return replica.onReserve(from, message)
      case 'reserved':
        return (message.backfill ? backfill : recovery).slots.onReserved(from, message.round)
      case 'release':
        if (!core.isPrimary) return replica.onRelease(message)
        return (message.backfill ? backfill : recovery).slots.onRevoked(from, message.round, message.tooFull)
    }
  }

  private onScrubMessage(from: OsdId, message: ScrubMessage): void {
    const { core, scrubber, scrubMember, replica } = this.parts
    switch (message.kind) {
      case 'reserved':
      case 'map':
        return scrubber.onMessage(from, message)
      case 'release':
      case 'record':
        return core.isPrimary ? scrubber.onMessage(from, message) : scrubMember.onMessage(from, message)
      default:
        // What is asked of a member that has not begun in this interval is not from its primary.
        if (replica.active) scrubMember.onMessage(from, message)
    }
  }

  onReservation(input: Extract<PgInput, { kind: 'reservation-granted' | 'reservation-revoked' }>): void {
    const { replica, recovery, backfill, trimmer, scrubber, scrubMember } = this.parts
    const { slot, round } = input
    const granted = input.kind === 'reservation-granted'
    if (slot === 'remote-scrub') {
      if (granted) scrubMember.onGranted(round)
      else scrubMember.onRevoked(round)
    } else if (slot === 'remote-recovery' || slot === 'remote-backfill') {
      if (granted) replica.onGranted(slot, round)
      else replica.onRevoked(slot, round)
    } else if (slot === 'snaptrim') {
      if (granted) trimmer.onGranted(round)
      else trimmer.onRevoked(round)
    } else {
      const { slots } = slot === 'local-recovery' ? recovery : slot === 'local-backfill' ? backfill : scrubber
      if (granted) slots.onLocalGranted(round)
      else slots.onLocalRevoked(round)
    }
  }
}
