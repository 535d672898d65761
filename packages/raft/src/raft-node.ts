/**
 * Raft as a synchronous state machine (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", with
 * pre-vote, check-quorum, learners, leadership transfer and ReadIndex from Ongaro's dissertation).
 *
 * The driver steps it with ticks, messages and proposals, takes what must happen with `ready()`, makes entries, hard
 * state and snapshot durable, then sends the messages and applies the committed entries, then calls `advance()`.
 *
 * Invariants (asserted)
 * 1. A term has at most one leader: a node votes once per term, and the vote is durable before its answer is sent.
 * 2. A leader never overwrites or drops entries of its own log.
 * 3. Only entries of the leader's own term are committed by counting (section 5.4.2).
 * 4. The commit index never goes back, and never passes what is durable on a majority.
 * 5. At most one membership change is uncommitted (dissertation, section 4.1), and none before the leader has committed an
 *    entry of its own term.
 */
import { assert, emptyBytes, encode } from '@shoal/base'
import { isOneStep, majority, majorityMatch, tally } from './membership.ts'
import { MembershipHistory } from './membership-history.ts'
import {
  type Entry,
  type HardState,
  type Membership,
  type MessageBody,
  membershipCodec,
  type NodeId,
  type RaftMessage,
  type Snapshot,
} from './messages.ts'
import { Progress } from './progress.ts'
import { RaftLog } from './raft-log.ts'
import { ReadQueue, type ReadState } from './read-queue.ts'
import { type RaftOptions, type Ready, type Role, sameHardState } from './ready.ts'
import { TickCounters } from './tick-counters.ts'

export class RaftNode {
  readonly id: NodeId
  role: Role = 'follower'
  leader: NodeId = 0
  term: number
  commit: number
  membership: Membership
  private votedFor: NodeId
  private readonly log: RaftLog
  private readonly options: RaftOptions
  private readonly appendBytesMax: number
  private readonly uncommittedEntriesMax: number
  private readonly uncommittedBytesMax: number
  /** Of this leader's own proposals. */
  private uncommittedBytes = 0
  private progress = new Map<NodeId, Progress>()
  private votes = new Map<NodeId, boolean>()
  private applied: number
  private readonly memberships: MembershipHistory
  private readonly ticks: TickCounters
  private transferTo: NodeId = 0
  private readonly reads = new ReadQueue()
  // What the next Ready holds.
  private messages: RaftMessage[] = []
  private readStates: ReadState[] = []
  private incomingSnapshot: Snapshot | undefined
  private savedHardState: HardState
  private unsavedFrom: number
  private inReady: { readonly lastIndex: number; readonly lastTerm: number; readonly appliedTo: number } | undefined

  constructor(options: RaftOptions) {
    this.options = options
    this.id = options.id
    this.appendBytesMax = options.appendBytesMax ?? 1024 * 1024
    this.uncommittedEntriesMax = options.uncommittedEntriesMax ?? 4096
    this.uncommittedBytesMax = options.uncommittedBytesMax ?? 64 * 1024 * 1024
    // A new store begins with a snapshot and no vote: its first term comes after the snapshot's.
    this.term = Math.max(options.hardState.term, options.snapshot?.term ?? 0)
    this.votedFor = options.hardState.votedFor
    this.log = new RaftLog(options.snapshot, options.entries)
    this.commit = Math.max(options.hardState.commit, this.log.snapshotIndex)
    assert(this.commit <= this.log.lastIndex, 'invariant 4: what is known to be committed is stored')
    this.applied = this.log.snapshotIndex
    this.savedHardState = options.hardState
    this.unsavedFrom = this.log.lastIndex + 1
    this.memberships = new MembershipHistory(
      this.log.snapshotIndex,
      options.snapshot?.membership ?? options.initialMembership,
    )
    for (const entry of options.entries) this.memberships.note(entry)
    this.membership = this.memberships.latest
    this.ticks = new TickCounters(options)
  }

  get lastIndex(): number {
    return this.log.lastIndex
  }

  get appliedIndex(): number {
    return this.applied
  }

  /** Of what is behind the snapshot. */
  get logSize(): { readonly length: number; readonly bytes: number } {
    return this.log
  }

  isVoter(id: NodeId = this.id): boolean {
    return this.membership.voters.includes(id)
  }

  /** Of a leader: how far each follower is. */
  followerProgress(id: NodeId): { readonly match: number; readonly active: boolean } | undefined {
    return this.progress.get(id)
  }

  /** The next so many ticks but one only count, unless a message comes between them. At least one. */
  get ticksUntilDue(): number {
    return this.ticks.untilDue(this.role === 'leader')
  }

  tick(): void {
    if (this.role === 'leader') return this.tickLeader()
    // Learners count too: one that was promoted and has not heard of it must be free to vote when its leader is gone.
    if (++this.ticks.electionElapsed < this.ticks.electionTimeout) return
    if (this.isVoter()) this.campaign('pre-candidate')
    else this.leader = 0
  }

  private tickLeader(): void {
    this.ticks.electionElapsed++
    if (this.ticks.electionElapsed >= this.options.electionTicks) {
      this.ticks.electionElapsed = 0
      this.transferTo = 0
      this.checkQuorum()
      if (this.role !== 'leader') return
    }
    if (++this.ticks.heartbeatElapsed >= this.options.heartbeatTicks) this.broadcastHeartbeat()
  }

  /** Dissertation, section 6.2: a leader that does not hear from a majority steps down, so that clients go elsewhere. */
  private checkQuorum(): void {
    const active = this.membership.voters.filter((id) => id === this.id || this.progress.get(id)?.active === true)
    for (const progress of this.progress.values()) progress.active = false
    if (active.length < majority(this.membership.voters.length)) this.becomeFollower(this.term, 0)
  }

  // Proposals

  /** The index the command will have if it commits; undefined unless leader, or while too much is uncommitted. */
  propose(data: Uint8Array): number | undefined {
    if (!this.mayPropose()) return undefined
    return this.appendOwn('command', data)
  }

  /** One step: adds, promotes or removes one node. Undefined if it cannot be proposed now. */
  proposeMembership(membership: Membership): number | undefined {
    if (!this.mayPropose() || !this.hasCommittedInTerm() || this.hasPendingMembership()) return undefined
    assert(isOneStep(this.membership, membership), 'a membership changes by one voter at a time')
    return this.appendOwn('membership', encode(membershipCodec, membership))
  }

  private mayPropose(): boolean {
    return (
      this.role === 'leader' &&
      this.transferTo === 0 &&
      this.log.lastIndex - this.commit < this.uncommittedEntriesMax &&
      this.uncommittedBytes < this.uncommittedBytesMax
    )
  }

  hasPendingMembership(): boolean {
    return this.memberships.latestIndex > this.commit
  }

  hasCommittedInTerm(): boolean {
    return this.log.termAt(this.commit) === this.term
  }

  private appendOwn(kind: Entry['kind'], data: Uint8Array): number {
    const entry: Entry = { index: this.log.lastIndex + 1, term: this.term, kind, data }
    this.uncommittedBytes += data.length
    this.memberships.note(entry)
    this.log.append(entry)
    this.adoptMembership()
    this.broadcastAppend()
    return entry.index
  }

  /**
   * A linearizable read (dissertation, section 6.4): the context comes back in `Ready.reads` once a majority confirmed that
   * this leader still leads. Undefined unless leader, before the first commit of its term, or when too many wait.
   */
  readIndex(): number | undefined {
    if (this.role !== 'leader' || !this.hasCommittedInTerm() || this.reads.isFull) return undefined
    const context = this.reads.add(this.commit, this.id)
    this.confirmReads()
    if (this.reads.newestContext !== 0) this.broadcastHeartbeat()
    return context
  }

  /** Asks a voter to take over; proposals stop until it does, or an election timeout passes. */
  transferLeadership(to: NodeId): void {
    if (this.role !== 'leader' || to === this.id || !this.isVoter(to)) return
    this.transferTo = to
    this.ticks.electionElapsed = 0
    this.maybeTransfer()
  }

  private maybeTransfer(): void {
    const progress = this.progress.get(this.transferTo)
    if (progress === undefined) return
    if (progress.match === this.log.lastIndex) this.send(this.transferTo, { type: 'timeout-now' })
    else this.sendAppend(this.transferTo, progress)
  }

  // Roles

  becomeFollower(term: number, leader: NodeId): void {
    if (term !== this.term) this.votedFor = 0
    this.term = term
    this.leader = leader
    this.role = 'follower'
    this.ticks.electionElapsed = 0
    this.transferTo = 0
    this.progress = new Map()
    this.reads.clear()
    this.ticks.drawElectionTimeout()
  }

  /** Asks for votes, first for form's sake (pre-vote): a node that cannot win does not raise the term. */
  private campaign(role: 'pre-candidate' | 'candidate', transfer = false): void {
    this.role = role
    this.leader = 0
    this.ticks.electionElapsed = 0
    this.ticks.drawElectionTimeout()
    this.votes = new Map([[this.id, true]])
    if (role === 'candidate') {
      this.term++
      this.votedFor = this.id
    }
    const position = { lastIndex: this.log.lastIndex, lastTerm: this.log.lastTerm }
    for (const id of this.membership.voters) {
      if (id === this.id) continue
      if (role === 'candidate') this.send(id, { type: 'vote', ...position, transfer })
      else this.messages.push({ type: 'pre-vote', from: this.id, to: id, term: this.term + 1, ...position })
    }
    this.countVotes()
  }

  private countVotes(): void {
    const outcome = tally(this.membership.voters, this.votes)
    if (outcome === 'lost') this.becomeFollower(this.term, 0)
    if (outcome !== 'won') return
    if (this.role === 'pre-candidate') this.campaign('candidate')
    else this.becomeLeader()
  }

  private becomeLeader(): void {
    assert(this.role === 'candidate', 'only a candidate becomes leader')
    this.role = 'leader'
    this.leader = this.id
    this.ticks.electionElapsed = 0
    this.uncommittedBytes = 0
    this.progress = new Map()
    this.adoptMembership()
    // An entry of the new term: until it commits, nothing from before may count as committed (invariant 3).
    this.appendOwn('empty', emptyBytes)
  }

  // Membership

  /** A node uses the latest membership in its log, committed or not (dissertation, section 4.1). */
  private adoptMembership(): void {
    this.membership = this.memberships.latest
    if (this.role !== 'leader') return
    const members = new Set([...this.membership.voters, ...this.membership.learners])
    for (const id of this.progress.keys()) if (!members.has(id)) this.progress.delete(id)
    for (const id of members) {
      if (id !== this.id && !this.progress.has(id)) {
        const progress = new Progress(this.log.lastIndex + 1)
        progress.active = true
        this.progress.set(id, progress)
      }
    }
  }

  // Messages

  step(message: RaftMessage): void {
    if (message.to !== this.id) return
    if (message.term > this.term && !this.onHigherTerm(message)) return
    if (message.term < this.term) return this.onLowerTerm(message)
    switch (message.type) {
      case 'pre-vote':
      case 'vote':
        return this.onVoteRequest(message)
      case 'pre-vote-reply':
      case 'vote-reply':
        if (this.role !== (message.type === 'vote-reply' ? 'candidate' : 'pre-candidate')) return
        this.votes.set(message.from, message.granted)
        return this.countVotes()
      case 'append':
      case 'heartbeat':
      case 'snapshot':
        return this.onLeaderMessage(message)
      case 'append-reply':
        return this.onAppendReply(message)
      case 'heartbeat-reply':
        return this.onHeartbeatReply(message)
      case 'timeout-now':
        if (this.isVoter()) this.campaign('candidate', true)
    }
  }

  /** False: the message is dealt with, or must be ignored. */
  private onHigherTerm(message: RaftMessage): boolean {
    if (message.type === 'vote' || message.type === 'pre-vote') {
      // Section 6, "disruptive servers": while a leader is heard from, nobody votes for another.
      const hearsLeader = this.leader !== 0 && this.ticks.electionElapsed < this.options.electionTicks
      if (hearsLeader && !(message.type === 'vote' && message.transfer)) return false
      if (message.type === 'pre-vote') return true
    }
    // A granted pre-vote carries the term that is asked for; it does not exist yet.
    if (message.type === 'pre-vote-reply' && message.granted) return true
    const fromLeader = message.type === 'append' || message.type === 'heartbeat' || message.type === 'snapshot'
    this.becomeFollower(message.term, fromLeader ? message.from : 0)
    return true
  }

  /** The sender lags: an answer in our term lets it find out. */
  private onLowerTerm(message: RaftMessage): void {
    const { type, from } = message
    if (type === 'append' || type === 'heartbeat' || type === 'snapshot') {
      this.send(from, { type: 'append-reply', index: 0, rejected: true })
    } else if (type === 'vote' || type === 'pre-vote') {
      this.send(from, { type: `${type}-reply`, granted: false })
    }
  }

  private onVoteRequest(message: RaftMessage & { readonly type: 'vote' | 'pre-vote' }): void {
    const upToDate = this.log.isUpToDate(message.lastIndex, message.lastTerm)
    if (message.type === 'pre-vote') {
      const granted = upToDate && message.term > this.term
      const term = granted ? message.term : this.term
      this.messages.push({ type: 'pre-vote-reply', from: this.id, to: message.from, term, granted })
      return
    }
    const free = this.votedFor === message.from || (this.votedFor === 0 && this.leader === 0)
    const granted = free && upToDate
    if (granted) {
      this.votedFor = message.from
      this.ticks.electionElapsed = 0
    }
    this.send(message.from, { type: 'vote-reply', granted })
  }

  private onLeaderMessage(message: RaftMessage & { readonly type: 'append' | 'heartbeat' | 'snapshot' }): void {
    assert(this.role !== 'leader', `invariant 1: ${message.from} leads term ${this.term} too`)
    // Anew for a leader just met: the patience drawn without one may be shorter.
    if (this.role !== 'follower' || this.leader !== message.from) this.becomeFollower(this.term, message.from)
    this.ticks.electionElapsed = 0
    if (message.type === 'append') return this.onAppend(message)
    if (message.type === 'snapshot') return this.onSnapshot(message.from, message.snapshot)
    this.commitTo(Math.min(message.commit, this.log.lastIndex))
    this.send(message.from, { type: 'heartbeat-reply', context: message.context })
  }

  private onAppend(message: RaftMessage & { readonly type: 'append' }): void {
    const { previousIndex, previousTerm, entries, from } = message
    if (previousIndex < this.commit) {
      // What is committed matches already.
      this.send(from, { type: 'append-reply', index: this.commit, rejected: false })
      return
    }
    if (this.log.termAt(previousIndex) !== previousTerm) {
      this.send(from, {
        type: 'append-reply',
        index: this.log.lastBeforeConflict(previousIndex, this.commit),
        rejected: true,
      })
      return
    }
    for (const entry of entries) {
      if (this.log.termAt(entry.index) === entry.term) continue
      if (entry.index <= this.log.lastIndex) this.truncateFrom(entry.index)
      this.memberships.note(entry)
      this.log.append(entry)
      this.unsavedFrom = Math.min(this.unsavedFrom, entry.index)
    }
    this.adoptMembership()
    const matched = previousIndex + entries.length
    this.commitTo(Math.min(message.commit, matched))
    this.send(from, { type: 'append-reply', index: matched, rejected: false })
  }

  private truncateFrom(index: number): void {
    this.log.truncateFrom(index, this.commit)
    this.unsavedFrom = Math.min(this.unsavedFrom, index)
    this.memberships.truncateFrom(index)
  }

  private onSnapshot(from: NodeId, snapshot: Snapshot): void {
    if (this.log.termAt(snapshot.index) === snapshot.term) {
      // The log has it all, and may have more that was acknowledged: that must stay.
      this.commitTo(snapshot.index)
    } else if (snapshot.index > this.commit) {
      this.log.reset(snapshot)
      this.memberships.reset(snapshot.index, snapshot.membership)
      this.adoptMembership()
      this.commit = snapshot.index
      this.unsavedFrom = snapshot.index + 1
      this.incomingSnapshot = snapshot
    }
    this.send(from, { type: 'append-reply', index: this.commit, rejected: false })
  }

  private onAppendReply(message: RaftMessage & { readonly type: 'append-reply' }): void {
    const progress = this.progress.get(message.from)
    if (this.role !== 'leader' || progress === undefined) return
    progress.active = true
    const wasPaused = progress.paused
    if (message.rejected) progress.onRejected(message.index)
    const commits = !message.rejected && progress.onAccepted(message.index) && this.maybeCommit()
    if (commits) this.broadcastAppend()
    if (message.from === this.transferTo) this.maybeTransfer()
    if (commits) return
    // A paused follower has missed what was committed meanwhile.
    const isResumed = wasPaused && progress.state === 'replicate'
    if (message.rejected || isResumed || progress.next <= this.log.lastIndex) this.sendAppends(message.from, progress)
  }

  private onHeartbeatReply(message: RaftMessage & { readonly type: 'heartbeat-reply' }): void {
    const progress = this.progress.get(message.from)
    if (this.role !== 'leader' || progress === undefined) return
    progress.active = true
    // The link works again: what was lost on it is probed for.
    progress.paused = false
    if (progress.state === 'replicate' && progress.match < this.log.lastIndex && progress.inflight.length > 0)
      progress.becomeProbe()
    if (progress.state === 'snapshot') progress.becomeProbe()
    if (progress.match < this.log.lastIndex) this.sendAppends(message.from, progress)
    this.reads.acknowledge(message.from, message.context)
    this.confirmReads()
  }

  private confirmReads(): void {
    this.readStates.push(...this.reads.takeConfirmed(this.membership.voters))
  }

  // Replication

  private send(to: NodeId, body: MessageBody): void {
    this.messages.push({ from: this.id, to, term: this.term, ...body })
  }

  private broadcastAppend(): void {
    for (const [id, progress] of this.progress) this.sendAppends(id, progress)
    this.maybeCommit()
  }

  private sendAppends(id: NodeId, progress: Progress): void {
    // An empty append when probing finds where the logs meet; when replicating it tells the new commit index.
    do this.sendAppend(id, progress)
    while (progress.state === 'replicate' && progress.canSend && progress.next <= this.log.lastIndex)
  }

  private sendAppend(id: NodeId, progress: Progress): void {
    if (!progress.canSend) return
    const previousIndex = progress.next - 1
    const previousTerm = this.log.termAt(previousIndex)
    if (previousTerm === undefined) return this.sendSnapshot(id, progress)
    const entries =
      progress.next > this.log.lastIndex ? [] : this.log.slice(progress.next, this.log.lastIndex, this.appendBytesMax)
    this.send(id, { type: 'append', previousIndex, previousTerm, entries, commit: this.commit })
    if (entries.length > 0 || progress.state === 'probe') progress.onSent(previousIndex + entries.length)
  }

  /** Set by the driver: the newest snapshot of the state machine. */
  snapshotSource: () => Snapshot | undefined = () => this.options.snapshot

  private sendSnapshot(id: NodeId, progress: Progress): void {
    const snapshot = this.snapshotSource()
    if (snapshot === undefined || !progress.active) return
    this.send(id, { type: 'snapshot', snapshot })
    progress.becomeSnapshot(snapshot.index)
  }

  private broadcastHeartbeat(): void {
    this.ticks.heartbeatElapsed = 0
    const context = this.reads.newestContext
    for (const [id, progress] of this.progress) {
      this.send(id, { type: 'heartbeat', commit: Math.min(this.commit, progress.match), context })
    }
  }

  /** Figure 2: a majority has it, and it is of this term. Own entries count once they are durable here. */
  private maybeCommit(): boolean {
    if (this.role !== 'leader') return false
    const matchOf = (id: NodeId): number => (id === this.id ? this.log.stable : (this.progress.get(id)?.match ?? 0))
    const index = majorityMatch(this.membership.voters.map(matchOf))
    if (index <= this.commit || this.log.termAt(index) !== this.term) return false
    this.commitTo(index)
    return true
  }

  private commitTo(index: number): void {
    if (index <= this.commit) return
    assert(index <= this.log.lastIndex, `invariant 4: commit ${index} of ${this.log.lastIndex}`)
    for (let committed = this.commit + 1; committed <= index; committed++) {
      this.uncommittedBytes -= this.log.at(committed)?.data.length ?? 0
    }
    this.uncommittedBytes = Math.max(0, this.uncommittedBytes)
    this.commit = index
    if (this.role === 'leader' && !this.isVoter() && !this.hasPendingMembership()) this.leave()
  }

  /** The change that removed this leader is committed: it tells the others and names the best of them its successor. */
  private leave(): void {
    for (const [id, progress] of this.progress) this.sendAppends(id, progress)
    const matchOf = (id: NodeId): number => this.progress.get(id)?.match ?? 0
    const [successor] = [...this.membership.voters].sort((a, b) => matchOf(b) - matchOf(a))
    if (successor !== undefined) this.send(successor, { type: 'timeout-now' })
    this.becomeFollower(this.term, 0)
  }

  // Effects

  hasReady(): boolean {
    return (
      this.messages.length > 0 ||
      this.readStates.length > 0 ||
      this.incomingSnapshot !== undefined ||
      this.unsavedFrom <= this.log.lastIndex ||
      this.applied < this.applicable() ||
      !sameHardState(this.savedHardState, this.hardState())
    )
  }

  /** One at a time: call `advance` before the next. */
  ready(): Ready {
    assert(this.inReady === undefined, 'advance comes before the next ready')
    const entries = this.unsavedFrom <= this.log.lastIndex ? this.log.slice(this.unsavedFrom, this.log.lastIndex) : []
    const hardState = this.hardState()
    const from = Math.max(this.applied, this.log.snapshotIndex) + 1
    const committed = from <= this.applicable() ? this.log.slice(from, this.applicable()) : []
    const ready: Ready = {
      hardState: sameHardState(this.savedHardState, hardState) ? undefined : hardState,
      snapshot: this.incomingSnapshot,
      entries,
      messages: this.messages,
      committed,
      reads: this.readStates,
      mustSync:
        entries.length > 0 ||
        this.incomingSnapshot !== undefined ||
        hardState.term !== this.savedHardState.term ||
        hardState.votedFor !== this.savedHardState.votedFor,
    }
    this.inReady = {
      lastIndex: this.log.lastIndex,
      lastTerm: this.log.lastTerm,
      appliedTo: Math.max(this.applied, this.log.snapshotIndex, committed.at(-1)?.index ?? 0),
    }
    this.savedHardState = hardState
    this.incomingSnapshot = undefined
    this.messages = []
    this.readStates = []
    this.unsavedFrom = this.log.lastIndex + 1
    return ready
  }

  /** The last Ready is durable, sent and applied. */
  advance(): void {
    const done = this.inReady
    assert(done !== undefined, 'advance follows ready')
    this.inReady = undefined
    this.applied = Math.max(this.applied, done.appliedTo)
    // Durable unless it was truncated meanwhile.
    if (this.log.termAt(done.lastIndex) === done.lastTerm) this.log.stable = Math.max(this.log.stable, done.lastIndex)
    if (this.maybeCommit()) this.broadcastAppend()
  }

  /** Entries are applied only when they are committed and durable here. */
  private applicable(): number {
    return Math.min(this.commit, Math.max(this.log.stable, this.log.snapshotIndex))
  }

  private hardState(): HardState {
    return { term: this.term, votedFor: this.votedFor, commit: this.commit }
  }

  /** The state machine has a snapshot at `index` (applied): the log before it may go. Returns the membership to store with it. */
  compact(index: number): { readonly term: number; readonly membership: Membership } {
    assert(index <= this.applied && index > this.log.snapshotIndex, 'only what is applied is compacted')
    const membership = this.memberships.compact(index)
    this.log.compact(index)
    return { term: this.log.snapshotTerm, membership }
  }

  get snapshotIndex(): number {
    return this.log.snapshotIndex
  }
}
