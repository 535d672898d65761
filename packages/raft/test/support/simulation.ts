/**
 * Raft nodes under a seeded adversary: messages are lost, doubled, delayed and reordered, links are cut, nodes lose power
 * between what they decided and what they stored, members come and go. Every step is checked against the properties of
 * Figure 3 of the paper and against linearizability of reads.
 */
import { Prng, utf8Decode, utf8Encode } from '@shoal/base'
import {
  decodeRaftMessage,
  type Entry,
  encodeRaftMessage,
  type HardState,
  type Membership,
  type NodeId,
  type RaftMessage,
  RaftNode,
  type Ready,
  type Snapshot,
} from '../../src/index.ts'

/** Bugs that are planted to prove that the checker bites. */
export type Bug = 'forget-vote' | 'acknowledge-unsynced' | 'forget-entries' | 'stale-read'

class Storage {
  hardState: HardState = { term: 0, votedFor: 0, commit: 0 }
  snapshot: Snapshot | undefined
  entries: Entry[] = []

  save(ready: Ready): void {
    if (ready.snapshot !== undefined) {
      this.snapshot = ready.snapshot
      this.entries = []
    }
    const first = ready.entries[0]?.index
    if (first !== undefined) this.entries = [...this.entries.filter((entry) => entry.index < first), ...ready.entries]
    if (ready.hardState !== undefined) this.hardState = ready.hardState
  }

  compact(snapshot: Snapshot): void {
    this.snapshot = snapshot
    this.entries = this.entries.filter((entry) => entry.index > snapshot.index)
  }
}

interface Machine {
  readonly id: NodeId
  readonly storage: Storage
  node: RaftNode | undefined
  /** Commands applied since the beginning of time, as a snapshot carries them. */
  applied: string[]
  /** A Ready whose batch has not reached the disk. */
  pending: Ready | undefined
  readonly reads: Map<number, { readonly mustSee: number }>
}

interface Flight {
  readonly dueAt: number
  readonly encoded: Uint8Array
  readonly to: NodeId
}

export interface SimulationResult {
  readonly committed: number
  readonly elections: number
  readonly reads: number
  readonly snapshots: number
  readonly memberships: number
  readonly restarts: number
}

export class Simulation {
  private readonly random: Prng
  private readonly machines = new Map<NodeId, Machine>()
  private flights: Flight[] = []
  private readonly cuts = new Set<string>()
  private readonly bug: Bug | undefined
  private now = 0
  private lossPercent = 5
  private nextCommand = 1
  private nextId: NodeId
  // What the checker knows.
  private readonly leaders = new Map<number, NodeId>()
  private readonly committed: Entry[] = []
  private readonly counts = { elections: 0, reads: 0, snapshots: 0, memberships: 0, restarts: 0 }

  constructor(seed: number, voters: number, bug?: Bug) {
    this.random = new Prng(seed)
    this.bug = bug
    const founders = Array.from({ length: voters }, (_, i) => i + 1)
    this.nextId = voters + 1
    for (const id of founders) this.addMachine(id, { voters: founders, learners: [] })
  }

  private addMachine(id: NodeId, founding: Membership | undefined): void {
    const storage = new Storage()
    if (founding !== undefined) storage.snapshot = { index: 1, term: 1, membership: founding, data: utf8Encode('[]') }
    const machine: Machine = { id, storage, node: undefined, applied: [], pending: undefined, reads: new Map() }
    this.machines.set(id, machine)
    this.start(machine)
  }

  private start(machine: Machine): void {
    const { storage } = machine
    machine.applied = storage.snapshot === undefined ? [] : commandsOf(storage.snapshot)
    machine.reads.clear()
    machine.node = new RaftNode({
      id: machine.id,
      random: this.random.fork(),
      electionTicks: 10,
      heartbeatTicks: 3,
      hardState: storage.hardState,
      snapshot: storage.snapshot,
      entries: storage.entries,
      initialMembership: { voters: [], learners: [] },
      appendBytesMax: 64,
    })
    machine.node.snapshotSource = () => machine.storage.snapshot
  }

  run(steps: number): SimulationResult {
    for (let step = 0; step < steps; step++) {
      this.now++
      this.disturb()
      this.deliver()
      for (const machine of this.machines.values()) {
        if (machine.node === undefined) continue
        if (this.random.below(100) < 90) machine.node.tick()
        this.progress(machine)
      }
      this.work()
    }
    return { committed: this.committed.length, ...this.counts }
  }

  /** All faults end; then everybody must agree on something new within the given steps. */
  heal(steps: number): void {
    this.cuts.clear()
    this.lossPercent = 0
    for (const machine of this.machines.values()) if (machine.node === undefined) this.start(machine)
    const before = this.committed.length
    for (let step = 0; step < steps; step++) {
      this.now++
      this.deliver()
      for (const machine of this.machines.values()) {
        machine.node?.tick()
        this.progress(machine)
      }
      if (step % 20 === 0) this.propose()
    }
    if (this.committed.length <= before) throw new Error('liveness: nothing was committed after the faults ended')
    const leader = this.leadingMachine()
    if (leader === undefined) throw new Error('liveness: no leader after the faults ended')
    for (const id of leader.node?.membership.voters ?? []) {
      const machine = this.machines.get(id)
      if ((machine?.applied.length ?? 0) < leader.applied.length - 5) {
        throw new Error(`liveness: ${id} applied ${machine?.applied.length} of ${leader.applied.length}`)
      }
    }
  }

  private disturb(): void {
    const { random } = this
    const ids = [...this.machines.keys()]
    const pick = (): NodeId => ids[random.below(ids.length)] ?? 1
    const dice = random.below(2000)
    if (dice < 12) this.crash(this.machines.get(pick()) as Machine)
    else if (dice < 60) {
      for (const machine of this.machines.values()) if (machine.node === undefined) this.start(machine)
    } else if (dice < 75) this.cuts.add(`${pick()}>${pick()}`)
    else if (dice < 85) {
      const lonely = pick()
      for (const id of ids) this.cuts.add(`${lonely}>${id}`).add(`${id}>${lonely}`)
    } else if (dice < 105) this.cuts.clear()
    else if (dice < 115) this.lossPercent = random.below(40)
    else if (dice < 135) this.changeMembership()
    else if (dice < 140) this.leadingMachine()?.node?.transferLeadership(pick())
    else if (dice < 170) this.compact(this.machines.get(pick()) as Machine)
  }

  private crash(machine: Machine): void {
    if (machine.node === undefined) return
    machine.node = undefined
    machine.pending = undefined
    this.counts.restarts++
    const { storage } = machine
    if (this.bug === 'forget-vote') storage.hardState = { ...storage.hardState, votedFor: 0 }
    if (this.bug === 'forget-entries') {
      const kept = storage.entries.slice(0, Math.max(0, storage.entries.length - 3))
      storage.entries = kept
      const last = kept.at(-1)?.index ?? storage.snapshot?.index ?? 0
      storage.hardState = { ...storage.hardState, commit: Math.min(storage.hardState.commit, last) }
    }
  }

  private compact(machine: Machine): void {
    const { node } = machine
    if (node === undefined || machine.pending !== undefined || node.appliedIndex <= node.snapshotIndex) return
    const index = node.appliedIndex
    machine.storage.compact({ index, ...node.compact(index), data: utf8Encode(JSON.stringify(machine.applied)) })
  }

  private leadingMachine(): Machine | undefined {
    const leaders = [...this.machines.values()].filter((machine) => machine.node?.role === 'leader')
    return leaders.sort((a, b) => (b.node?.term ?? 0) - (a.node?.term ?? 0))[0]
  }

  private changeMembership(): void {
    const node = this.leadingMachine()?.node
    if (node === undefined) return
    const { voters, learners } = node.membership
    const sorted = (ids: readonly NodeId[]): NodeId[] => [...ids].sort((a, b) => a - b)
    const learner = learners[0]
    if (learner !== undefined) {
      const caughtUp = (node.followerProgress(learner)?.match ?? 0) > node.lastIndex - 10
      if (caughtUp) node.proposeMembership({ voters: sorted([...voters, learner]), learners: learners.slice(1) })
    } else if (voters.length >= 5 || (voters.length > 3 && this.random.below(2) === 0)) {
      const gone = voters[this.random.below(voters.length)]
      node.proposeMembership({ voters: voters.filter((id) => id !== gone), learners })
    } else if (this.machines.size < 12) {
      const id = this.nextId++
      this.addMachine(id, undefined)
      node.proposeMembership({ voters, learners: [id] })
    }
  }

  private deliver(): void {
    const due = this.flights.filter((flight) => flight.dueAt <= this.now)
    this.flights = this.flights.filter((flight) => flight.dueAt > this.now)
    for (const flight of due) this.machines.get(flight.to)?.node?.step(decodeRaftMessage(flight.encoded))
  }

  private send(message: RaftMessage): void {
    if (message.type === 'snapshot') this.counts.snapshots++
    if (this.cuts.has(`${message.from}>${message.to}`) || this.random.below(100) < this.lossPercent) return
    const encoded = encodeRaftMessage(message)
    const copies = this.random.below(100) < 5 ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      const delay = this.random.below(100) < 3 ? this.random.below(60) : 1 + this.random.below(3)
      this.flights.push({ dueAt: this.now + delay, encoded, to: message.to })
    }
  }

  /** One stage of a Ready at a time, so that a crash may come between any two. */
  private progress(machine: Machine): void {
    const { node } = machine
    if (node === undefined) return
    this.checkLeader(node)
    if (machine.pending === undefined) {
      if (!node.hasReady()) return
      machine.pending = node.ready()
      if (this.bug === 'acknowledge-unsynced') for (const message of machine.pending.messages) this.send(message)
      return
    }
    if (this.random.below(100) < 30) return
    const ready = machine.pending
    machine.pending = undefined
    machine.storage.save(ready)
    const votedFor = ready.hardState?.votedFor ?? 0
    if (this.bug === 'forget-vote' && votedFor !== 0 && votedFor !== machine.id) {
      // The worst moment: the vote is out, and the voter comes back at once without it.
      for (const message of ready.messages) this.send(message)
      this.crash(machine)
      this.start(machine)
      return
    }
    if (this.bug !== 'acknowledge-unsynced') for (const message of ready.messages) this.send(message)
    if (ready.snapshot !== undefined) machine.applied = commandsOf(ready.snapshot)
    for (const entry of ready.committed) this.apply(machine, entry)
    node.advance()
    for (const read of ready.reads) this.finishRead(machine, read.context, read.index)
  }

  private apply(machine: Machine, entry: Entry): void {
    // Entry 1 is the founding snapshot.
    const position = entry.index - 2
    const known = this.committed[position]
    if (known === undefined) {
      if (position !== this.committed.length) throw new Error(`${machine.id} applied ${entry.index} out of order`)
      this.committed.push(entry)
      if (entry.kind === 'membership') this.counts.memberships++
    } else if (known.term !== entry.term || text(known) !== text(entry)) {
      throw new Error(
        `state machine safety: ${machine.id} applied '${text(entry)}' at ${entry.index}, not '${text(known)}'`,
      )
    }
    if (entry.kind === 'command') machine.applied.push(text(entry))
  }

  private checkLeader(node: RaftNode): void {
    if (node.role !== 'leader') return
    const other = this.leaders.get(node.term)
    if (other === node.id) return
    if (other !== undefined) throw new Error(`election safety: ${other} and ${node.id} lead term ${node.term}`)
    this.leaders.set(node.term, node.id)
    this.counts.elections++
    const last = this.committed.at(-1)
    if (last !== undefined && node.lastIndex < last.index) {
      throw new Error(`leader completeness: ${node.id} leads term ${node.term} without committed entry ${last.index}`)
    }
  }

  private propose(): void {
    const command = utf8Encode(`c${this.nextCommand++}`)
    for (const machine of this.machines.values()) machine.node?.propose(command)
  }

  private work(): void {
    if (this.random.below(100) < 25) this.propose()
    if (this.random.below(100) < 10) {
      for (const machine of this.machines.values()) {
        if (machine.node?.role !== 'leader') continue
        const mustSee = this.committed.at(-1)?.index ?? 0
        if (this.bug === 'stale-read') this.checkRead(mustSee, machine.node.commit)
        const context = machine.node.readIndex()
        if (context !== undefined) machine.reads.set(context, { mustSee })
      }
    }
  }

  private finishRead(machine: Machine, context: number, index: number): void {
    const read = machine.reads.get(context)
    if (read === undefined) return
    machine.reads.delete(context)
    this.checkRead(read.mustSee, index)
    this.counts.reads++
  }

  /** Whatever anybody had applied when the read was asked for, it must see. */
  private checkRead(mustSee: number, index: number): void {
    if (index < mustSee)
      throw new Error(`linearizable reads: a read saw ${index}, ${mustSee} was applied before it began`)
  }

  /** Log matching: two logs with an entry of the same index and term are the same up to there. */
  checkLogs(): void {
    const stored = [...this.machines.values()].map(
      (machine) => new Map(machine.storage.entries.map((one) => [one.index, one])),
    )
    for (const a of stored) {
      for (const b of stored) {
        let matched = false
        for (const index of [...a.keys()].sort((x, y) => y - x)) {
          const [mine, other] = [a.get(index), b.get(index)]
          if (mine === undefined || other === undefined) continue
          if (mine.term === other.term) matched = true
          if (matched && (mine.term !== other.term || text(mine) !== text(other))) {
            throw new Error(`log matching: entry ${index} differs below a matching one`)
          }
        }
      }
    }
  }
}

function text(entry: Entry): string {
  return entry.kind === 'command' ? utf8Decode(entry.data) : `${entry.kind}:${entry.data.join()}`
}

function commandsOf(snapshot: Snapshot): string[] {
  return JSON.parse(utf8Decode(snapshot.data)) as string[]
}
