/** Which membership holds from which entry on: a truncated log falls back on an older one, a snapshot needs the one at its index. */
import { decode } from '@shoal/base'
import { type Entry, type Membership, membershipCodec } from './messages.ts'

interface Change {
  readonly index: number
  readonly membership: Membership
}

export class MembershipHistory {
  /** Oldest first; the first one holds from the log's beginning. */
  private changes: readonly [Change, ...Change[]]

  constructor(index: number, membership: Membership) {
    this.changes = [{ index, membership }]
  }

  private get newest(): Change {
    return this.changes.at(-1) ?? this.changes[0]
  }

  get latest(): Membership {
    return this.newest.membership
  }

  get latestIndex(): number {
    return this.newest.index
  }

  /** Throws EBADMSG when the entry claims to be a membership and is none. */
  note(entry: Entry): void {
    if (entry.kind !== 'membership') return
    this.changes = [...this.changes, { index: entry.index, membership: decode(membershipCodec, entry.data) }]
  }

  truncateFrom(index: number): void {
    const [first, ...rest] = this.changes
    this.changes = [first, ...rest.filter((change) => change.index < index)]
  }

  /** Forgets what came before `index`; returns the membership that holds there. */
  compact(index: number): Membership {
    const { membership } = this.changes.findLast((change) => change.index <= index) ?? this.changes[0]
    this.changes = [{ index, membership }, ...this.changes.filter((change) => change.index > index)]
    return membership
  }

  reset(index: number, membership: Membership): void {
    this.changes = [{ index, membership }]
  }
}
