/**
 * The safety of consensus, as figure 3 of the Raft paper (Ongaro and Ousterhout, 2014) names it, from what nodes show of
 * themselves: election safety, log matching, leader completeness (as: what one node has committed no other contradicts),
 * state machine safety. Leader append-only follows from these over the observations that are made.
 */
import type { Violation } from '../history.ts'

export interface RaftEntryObservation {
  readonly index: number
  readonly term: number
  /** A digest of the entry's data. */
  readonly digest: string
}

export interface RaftObservation {
  readonly node: string
  readonly atMs: number
  readonly term: number
  readonly role: string
  readonly commitIndex: number
  /** A stretch of the node's log; those that were shown before need not be shown again. */
  readonly entries: readonly RaftEntryObservation[]
  /** The state machine after applying up to this index. */
  readonly applied?: { readonly index: number; readonly digest: string }
}

/** Entries of a log that are remembered after they were compared. */
const keptBehindCommit = 64

export class RaftSafetyChecker {
  readonly violations: Violation[] = []
  private readonly leaders = new Map<number, string>()
  private readonly terms = new Map<string, number>()
  /** By term and index: the entry, and the term before it, for log matching. */
  private readonly written = new Map<string, { readonly digest: string; readonly before: number | undefined }>()
  private readonly committed = new Map<number, RaftEntryObservation & { readonly node: string }>()
  private readonly states = new Map<number, { readonly digest: string; readonly node: string }>()
  private readonly logs = new Map<string, Map<number, RaftEntryObservation>>()

  observe(seen: RaftObservation): void {
    const { node, term } = seen
    if (seen.role === 'leader') this.observeLeader(seen)
    const before = this.terms.get(node) ?? 0
    // Terms are durable: they outlive the process. A node whose disk was replaced is another node.
    if (term < before) this.report(`${node} went from term ${before} back to ${term}`, seen)
    this.terms.set(node, Math.max(before, term))
    this.observeLog(seen)
    this.observeCommitted(seen)
    this.observeApplied(seen)
  }

  /**
   * A node that leads. Unlike the rest of what it shows, this holds while it is writing, too: its term was on its disk
   * before it asked for votes.
   */
  observeLeader(seen: Pick<RaftObservation, 'node' | 'atMs' | 'term'>): void {
    const { node, term } = seen
    const leader = this.leaders.get(term)
    if (leader === undefined) this.leaders.set(term, node)
    else if (leader !== node) this.report(`term ${term} has two leaders: ${leader} and ${node}`, seen)
  }

  /** A node whose disk was replaced knows nothing of before. */
  forget(node: string): void {
    this.terms.delete(node)
    this.logs.delete(node)
  }

  private observeLog(seen: RaftObservation): void {
    const log = this.logs.get(seen.node) ?? new Map<number, RaftEntryObservation>()
    this.logs.set(seen.node, log)
    for (const entry of seen.entries) {
      if (log.get(entry.index)?.term !== entry.term) {
        // What follows an entry that was replaced is gone, too.
        for (const index of log.keys()) if (index > entry.index) log.delete(index)
      }
      log.set(entry.index, entry)
    }
    for (const entry of seen.entries) {
      const key = `${entry.term}:${entry.index}`
      const before = log.get(entry.index - 1)?.term
      const known = this.written.get(key)
      if (known === undefined) {
        this.written.set(key, { digest: entry.digest, before })
        continue
      }
      if (known.digest !== entry.digest) {
        this.report(`entry ${entry.index} of term ${entry.term} has two contents`, seen)
      } else if (known.before !== undefined && before !== undefined && known.before !== before) {
        this.report(`logs that share entry ${entry.index} of term ${entry.term} differ before it`, seen)
      } else if (known.before === undefined && before !== undefined) {
        this.written.set(key, { digest: entry.digest, before })
      }
    }
  }

  private observeCommitted({ node, commitIndex, ...seen }: RaftObservation): void {
    const log = this.logs.get(node)
    if (log === undefined) return
    for (const [index, entry] of log) {
      if (index > commitIndex) continue
      const known = this.committed.get(index)
      if (known === undefined) this.committed.set(index, { ...entry, node })
      else if (known.term !== entry.term || known.digest !== entry.digest) {
        this.report(`entry ${index} was committed as ${known.term} by ${known.node} and as ${entry.term} by ${node}`, {
          known,
          entry,
          seen,
        })
      }
    }
    for (const index of log.keys()) if (index < commitIndex - keptBehindCommit) log.delete(index)
  }

  private observeApplied(seen: RaftObservation): void {
    const { applied, node } = seen
    if (applied === undefined) return
    const known = this.states.get(applied.index)
    if (known === undefined) this.states.set(applied.index, { digest: applied.digest, node })
    else if (known.digest !== applied.digest) {
      this.report(`the states of ${known.node} and ${node} differ after entry ${applied.index}`, seen)
    }
  }

  private report(message: string, details: unknown): void {
    this.violations.push({ checker: 'raft', message, details })
  }
}
