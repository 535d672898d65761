/**
 * What a leader knows of one follower's log, and how it sends.
 *
 * `probe`: where the logs meet is not known; one append at a time. `replicate`: known; appends are sent optimistically,
 * a bounded number ahead. `snapshot`: the follower needs entries that are gone; one snapshot, then probe again.
 */
export const inflightMax = 64

export class Progress {
  match = 0
  next: number
  state: 'probe' | 'replicate' | 'snapshot' = 'probe'
  /** Last indices of appends that are not acknowledged yet. */
  inflight: number[] = []
  /** Probing: an append is out, wait for its answer (or the next heartbeat's). */
  paused = false
  snapshotIndex = 0
  /** Heard from since the leader last checked its quorum. */
  active = false

  constructor(next: number) {
    this.next = next
  }

  get canSend(): boolean {
    if (this.state === 'replicate') return this.inflight.length < inflightMax
    return this.state === 'probe' && !this.paused
  }

  becomeProbe(): void {
    this.next = this.state === 'snapshot' ? Math.max(this.match, this.snapshotIndex) + 1 : this.match + 1
    this.state = 'probe'
    this.paused = false
    this.inflight = []
  }

  becomeReplicate(): void {
    this.state = 'replicate'
    this.next = this.match + 1
    this.inflight = []
  }

  becomeSnapshot(index: number): void {
    this.state = 'snapshot'
    this.snapshotIndex = index
    this.inflight = []
  }

  onSent(lastIndex: number): void {
    if (this.state === 'replicate') {
      this.next = lastIndex + 1
      this.inflight.push(lastIndex)
    } else {
      this.paused = true
    }
  }

  /** True when the match moved. */
  onAccepted(index: number): boolean {
    this.paused = false
    this.inflight = this.inflight.filter((sent) => sent > index)
    if (index <= this.match) return false
    this.match = index
    this.next = Math.max(this.next, index + 1)
    if (this.state === 'probe' || (this.state === 'snapshot' && index >= this.snapshotIndex)) this.becomeReplicate()
    return true
  }

  onRejected(hint: number): void {
    if (this.state === 'replicate') {
      this.becomeProbe()
      return
    }
    this.next = Math.max(this.match + 1, Math.min(this.next - 1, hint + 1))
    this.paused = false
  }
}
