/**
 * Linearizable reads that wait for proof of leadership (dissertation, section 6.4): each remembers the commit index at
 * which it was asked, and is released once a majority answered a heartbeat that was sent after it came.
 */
import { majority } from './membership.ts'
import type { NodeId } from './messages.ts'

export interface ReadState {
  readonly context: number
  readonly index: number
}

const readsMax = 4096

export class ReadQueue {
  private waiting: (ReadState & { readonly acks: Set<NodeId> })[] = []
  private next = 1

  get isFull(): boolean {
    return this.waiting.length >= readsMax
  }

  /** The context that heartbeats carry: who answers it, answers every read up to it. 0: none waits. */
  get newestContext(): number {
    return this.waiting.at(-1)?.context ?? 0
  }

  add(index: number, self: NodeId): number {
    const context = this.next++
    this.waiting.push({ context, index, acks: new Set([self]) })
    return context
  }

  acknowledge(from: NodeId, context: number): void {
    for (const read of this.waiting) if (read.context <= context) read.acks.add(from)
  }

  /** Takes out what a majority of the voters has confirmed, oldest first. */
  takeConfirmed(voters: readonly NodeId[]): readonly ReadState[] {
    const confirmed: ReadState[] = []
    for (;;) {
      const read = this.waiting[0]
      if (read === undefined || voters.filter((id) => read.acks.has(id)).length < majority(voters.length)) break
      confirmed.push({ context: read.context, index: read.index })
      this.waiting.shift()
    }
    return confirmed
  }

  clear(): void {
    this.waiting = []
  }
}
