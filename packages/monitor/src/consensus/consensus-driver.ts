/**
 * Carries out what a {@link RaftNode} decides: time, disk, messages, and the replicated state machine.
 *
 * Order of one round: persist (one synced batch), then send, then apply, then the next round. While a batch is being
 * written, proposals and messages gather in the node: they share the next batch (group commit).
 */
import { assert, ClusterError, decode, type Env, type Log, type Timer } from '@shoal/base'
import {
  decodeRaftMessage,
  type Entry,
  encodeRaftMessage,
  isOneStep,
  type Membership,
  membershipCodec,
  type NodeId,
  RaftNode,
  type Snapshot,
} from '@shoal/raft'
import { RaftStore } from './raft-store.ts'
import { Ticker } from './ticker.ts'

export interface StateMachine {
  /** Deterministic. The result goes to the proposer on this node, if it is here. */
  apply(index: number, command: Uint8Array): unknown
  snapshot(): Uint8Array
  restore(snapshot: Uint8Array): void
  /** The membership that is committed has changed. */
  onMembership?(membership: Membership, index: number): void
}

export interface RaftTransport {
  /** May lose messages, must not wait. */
  send(to: NodeId, message: Uint8Array): void
}

export interface ConsensusOptions {
  readonly id: NodeId
  readonly directory: string
  readonly stateMachine: StateMachine
  readonly transport: RaftTransport
  readonly tickMs?: number
  readonly electionTicks?: number
  readonly heartbeatTicks?: number
  /** Entries after which the log is compacted into a snapshot. */
  readonly compactEvery?: number
  /** Bytes of entries after which the log is compacted. */
  readonly compactBytes?: number
  readonly onLeaderChange?: (leader: NodeId, term: number) => void
}

export interface ConsensusStatus {
  readonly id: NodeId
  readonly role: RaftNode['role']
  readonly leader: NodeId
  readonly term: number
  readonly commit: number
  readonly applied: number
  readonly logEntries: number
  readonly membership: Membership
  /** On the leader: voters heard from lately, itself included. */
  readonly quorum: readonly NodeId[]
}

interface Proposal {
  readonly term: number
  readonly resolve: (result: unknown) => void
  readonly reject: (error: ClusterError) => void
  readonly timer: Timer
}

/** Whether a leader was seen in this run. */
interface Meeting {
  node: RaftNode | undefined
  leader: boolean
}

interface PendingRead {
  index: number | undefined
  readonly resolve: () => void
  readonly reject: (error: ClusterError) => void
  readonly timer: Timer
}

const defaultTimeoutMs = 10_000
const defaultTickMs = 150
/** Until a leader was seen for the first time in this run. */
const firstElectionTicks = 2

export class ConsensusDriver {
  private readonly env: Pick<Env, 'clock' | 'timers' | 'keyValue' | 'random' | 'abort'>
  private readonly log: Log
  private readonly options: ConsensusOptions
  /** Whether a leader was seen in this run: from then on elections are as slow as configured. */
  private readonly meeting: Meeting
  private readonly store: RaftStore
  private readonly closeStore: () => Promise<void>
  private readonly node: RaftNode
  private readonly proposals = new Map<number, Proposal>()
  private readonly reads = new Map<number, PendingRead>()
  private snapshot: Snapshot | undefined
  private running: Promise<void> | undefined
  private readonly ticker: Ticker
  private closed = false
  private announcedLeader = 0
  private announcedTerm = -1
  /** Linearizable reads share one confirmation: the ones asked for while it is under way share the next. */
  private nextBarrier: Promise<void> | undefined

  private constructor(
    env: Pick<Env, 'clock' | 'timers' | 'keyValue' | 'random' | 'log' | 'abort'>,
    options: ConsensusOptions,
    opened: {
      readonly meeting: Meeting
      readonly store: RaftStore
      readonly close: () => Promise<void>
      readonly node: RaftNode
      readonly snapshot: Snapshot | undefined
    },
  ) {
    this.env = env
    this.log = env.log.child('raft')
    this.options = options
    this.meeting = opened.meeting
    this.store = opened.store
    this.closeStore = opened.close
    this.node = opened.node
    this.snapshot = opened.snapshot
    this.ticker = new Ticker(env, this.node, options.tickMs ?? defaultTickMs, () => this.pump())
    this.node.snapshotSource = () => this.snapshot
  }

  /** Makes the store of a founding member: `state` is what every founder begins with, byte for byte. */
  static async initialize(
    env: Pick<Env, 'keyValue'>,
    directory: string,
    membership: Membership,
    state: Uint8Array,
  ): Promise<void> {
    const store = await env.keyValue.open(directory)
    try {
      await new RaftStore(store).initialize({ index: 1, term: 1, membership, data: state })
    } finally {
      await store.close()
    }
  }

  /** Restores the state machine and joins in. An empty store waits for a leader that adds it. */
  static async open(
    env: Pick<Env, 'clock' | 'timers' | 'keyValue' | 'random' | 'log' | 'abort'>,
    options: ConsensusOptions,
  ): Promise<ConsensusDriver> {
    const keyValue = await env.keyValue.open(options.directory)
    const store = new RaftStore(keyValue)
    const stored = await store.load()
    const meeting: Meeting = { node: undefined, leader: false }
    const electionTicks = options.electionTicks ?? 8
    const node = new RaftNode({
      id: options.id,
      random: env.random,
      // Pre-votes of an impatient node harm nobody, and after a start of all members somebody leads at once.
      get electionTicks() {
        const met = meeting.leader || (meeting.node?.leader ?? 0) !== 0
        return met ? electionTicks : Math.min(electionTicks, firstElectionTicks)
      },
      heartbeatTicks: options.heartbeatTicks ?? 2,
      initialMembership: { voters: [], learners: [] },
      ...stored,
    })
    meeting.node = node
    if (stored.snapshot !== undefined) options.stateMachine.restore(stored.snapshot.data)
    const driver = new ConsensusDriver(env, options, {
      meeting,
      store,
      close: () => keyValue.close(),
      node,
      snapshot: stored.snapshot,
    })
    options.stateMachine.onMembership?.(node.membership, node.appliedIndex)
    driver.pump()
    return driver
  }

  get isLeader(): boolean {
    return this.node.role === 'leader'
  }

  get leader(): NodeId {
    return this.node.leader
  }

  status(): ConsensusStatus {
    const { node } = this
    const heard = (id: NodeId): boolean => id === node.id || node.followerProgress(id)?.active === true
    return {
      id: node.id,
      role: node.role,
      leader: node.leader,
      term: node.term,
      commit: node.commit,
      applied: node.appliedIndex,
      logEntries: node.logSize.length,
      membership: node.membership,
      quorum: node.role === 'leader' ? node.membership.voters.filter(heard) : [],
    }
  }

  /** How far a member's copy of the log is behind, in entries; undefined unless leader and member. */
  lagOf(id: NodeId): number | undefined {
    const progress = this.node.followerProgress(id)
    return progress === undefined ? undefined : this.node.lastIndex - progress.match
  }

  /** A message of another node. Malformed ones are dropped and logged. */
  receive(from: NodeId, encoded: Uint8Array): void {
    if (this.closed) return
    this.ticker.count()
    try {
      const message = decodeRaftMessage(encoded)
      if (message.from === from) this.node.step(message)
      else this.log.warn('dropping a raft message in another name', { from, claimed: message.from })
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error
      this.log.warn('dropping a malformed raft message', { from, error: error.message })
    }
    this.pump()
  }

  /**
   * Replicates a command; resolves with what `apply` returned here. Rejects with ENOTLEADER (not applied), ENOQUORUM or
   * ETIMEDOUT (outcome unknown: it may yet be applied).
   */
  propose(command: Uint8Array, timeoutMs: number = defaultTimeoutMs): Promise<unknown> {
    return this.track(() => this.node.propose(command), timeoutMs)
  }

  /** One voter at a time; wait for the answer before the next. EAGAIN while another change is under way. */
  async changeMembership(membership: Membership, timeoutMs: number = defaultTimeoutMs): Promise<void> {
    if (this.isLeader && !isOneStep(this.node.membership, membership)) {
      throw new ClusterError('EINVAL', 'members change by one voter at a time, and one voter must stay', {
        hint: 'add, promote or remove one monitor, wait until it is done, then the next',
      })
    }
    await this.track(() => this.node.proposeMembership(membership), timeoutMs)
  }

  transferLeadership(to: NodeId): void {
    this.node.transferLeadership(to)
    this.pump()
  }

  private track(propose: () => number | undefined, timeoutMs: number): Promise<unknown> {
    const { node } = this
    if (this.closed) return Promise.reject(new ClusterError('ESHUTDOWN', 'this monitor is stopping', { retry: true }))
    if (node.role !== 'leader') return Promise.reject(this.notLeader())
    const index = propose()
    if (index === undefined) {
      return Promise.reject(
        new ClusterError('EAGAIN', 'too much is being decided at once, or a change of members is under way', {
          retry: true,
        }),
      )
    }
    return new Promise((resolve, reject) => {
      const timer = this.env.timers.after(timeoutMs, () => {
        this.proposals.delete(index)
        reject(
          new ClusterError('ETIMEDOUT', 'no quorum confirmed it in time', {
            outcome: 'unknown',
            hint: 'shoal mon stat',
          }),
        )
      })
      this.proposals.set(index, { term: node.term, resolve, reject, timer })
      this.pump()
    })
  }

  private notLeader(): ClusterError {
    return this.node.leader === 0
      ? new ClusterError('ENOQUORUM', 'the monitors have no leader', {
          retry: true,
          hint: 'start more than half of the monitors: shoal mon stat',
        })
      : new ClusterError('ENOTLEADER', `monitor ${this.node.leader} leads`, {
          retry: true,
          hint: `ask monitor ${this.node.leader}`,
        })
  }

  /** Resolves once everything that was acknowledged anywhere before the call is applied here. Only on the leader. */
  readBarrier(timeoutMs: number = defaultTimeoutMs): Promise<void> {
    if (this.nextBarrier === undefined) {
      // Shared by all callers of this turn.
      this.nextBarrier = Promise.resolve().then(() => {
        this.nextBarrier = undefined
        return this.startBarrier(timeoutMs)
      })
    }
    return this.nextBarrier
  }

  private startBarrier(timeoutMs: number): Promise<void> {
    if (this.node.role !== 'leader') return Promise.reject(this.notLeader())
    const context = this.node.readIndex()
    if (context === undefined) {
      return Promise.reject(
        new ClusterError('EAGAIN', 'the leader is new: it has not committed anything yet', { retry: true }),
      )
    }
    return new Promise((resolve, reject) => {
      const timer = this.env.timers.after(timeoutMs, () => {
        this.reads.delete(context)
        reject(
          new ClusterError('ENOQUORUM', 'a majority of the monitors does not answer', {
            hint: 'shoal mon stat',
            retry: true,
          }),
        )
      })
      this.reads.set(context, { index: undefined, resolve, reject, timer })
      this.pump()
    })
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.ticker.stop()
    this.failPending(new ClusterError('ESHUTDOWN', 'this monitor is stopping', { outcome: 'unknown', retry: true }))
    await this.running
    await this.closeStore()
  }

  /** Starts the loop unless it runs; it takes what comes meanwhile along. */
  private pump(): void {
    if (!this.closed) this.ticker.arm()
    if (this.running !== undefined || this.closed || !this.node.hasReady()) return this.announce()
    this.running = this.run().then(
      () => {
        this.running = undefined
        this.pump()
      },
      (error: unknown) => this.fail(error),
    )
  }

  /** What is on the disk is not known any more: nothing may be said or answered from here on. */
  private fail(cause: unknown): never {
    this.closed = true
    this.ticker.stop()
    this.failPending(
      new ClusterError('EIO', 'the store of this monitor failed', { outcome: 'unknown', retry: true, cause }),
    )
    return this.env.abort('consensus failed', cause)
  }

  private async run(): Promise<void> {
    while (!this.closed && this.node.hasReady()) {
      const ready = this.node.ready()
      await this.store.save(ready)
      if (this.closed) return
      for (const message of ready.messages) this.options.transport.send(message.to, encodeRaftMessage(message))
      if (ready.snapshot !== undefined) this.install(ready.snapshot)
      for (const entry of ready.committed) this.apply(entry)
      this.node.advance()
      for (const { context, index } of ready.reads) {
        const read = this.reads.get(context)
        if (read !== undefined) read.index = index
      }
      this.finishReads()
      this.announce()
      await this.maybeCompact()
    }
  }

  private install(snapshot: Snapshot): void {
    this.snapshot = snapshot
    this.options.stateMachine.restore(snapshot.data)
    this.options.stateMachine.onMembership?.(snapshot.membership, snapshot.index)
  }

  private apply(entry: Entry): void {
    const { stateMachine } = this.options
    const result = entry.kind === 'command' ? stateMachine.apply(entry.index, entry.data) : undefined
    if (entry.kind === 'membership') stateMachine.onMembership?.(decode(membershipCodec, entry.data), entry.index)
    const proposal = this.proposals.get(entry.index)
    if (proposal === undefined) return
    this.proposals.delete(entry.index)
    proposal.timer.cancel()
    if (proposal.term === entry.term) proposal.resolve(result)
    else proposal.reject(new ClusterError('ENOTLEADER', 'another leader decided something else', { retry: true }))
  }

  private finishReads(): void {
    for (const [context, read] of this.reads) {
      if (read.index === undefined || read.index > this.node.appliedIndex) continue
      this.reads.delete(context)
      read.timer.cancel()
      read.resolve()
    }
  }

  /** Tells of a new leader or term, once; proposals of a leader that lost are in doubt. */
  private announce(): void {
    const { leader, term, role } = this.node
    if (leader === this.announcedLeader && term === this.announcedTerm) return
    if (role !== 'leader' && this.announcedLeader === this.node.id) {
      this.failPending(
        new ClusterError('ENOTLEADER', 'this monitor lost its leadership meanwhile', {
          outcome: 'unknown',
          retry: true,
        }),
      )
    }
    if (leader !== 0) this.meeting.leader = true
    this.announcedLeader = leader
    this.announcedTerm = term
    this.log.info('leader', { leader, term })
    this.options.onLeaderChange?.(leader, term)
  }

  private failPending(error: ClusterError): void {
    for (const proposal of this.proposals.values()) {
      proposal.timer.cancel()
      proposal.reject(error)
    }
    this.proposals.clear()
    for (const read of this.reads.values()) {
      read.timer.cancel()
      read.reject(error)
    }
    this.reads.clear()
  }

  private async maybeCompact(): Promise<void> {
    const { node, options } = this
    const isLong =
      node.logSize.length >= (options.compactEvery ?? 2_000) ||
      node.logSize.bytes >= (options.compactBytes ?? 32 * 1024 * 1024)
    if (!isLong || node.appliedIndex <= node.snapshotIndex) return
    const index = node.appliedIndex
    const data = options.stateMachine.snapshot()
    const { term, membership } = node.compact(index)
    const snapshot: Snapshot = { index, term, membership, data }
    assert(index === node.snapshotIndex, 'the log begins behind the snapshot')
    await this.store.compact(snapshot)
    this.snapshot = snapshot
  }
}
