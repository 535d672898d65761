/**
 * Dialogues with raft nodes in text files: a command line, then the lines it must print.
 *
 *     cluster 1 2 3            nodes that begin with the founding snapshot
 *     join 4                   a node with an empty store
 *     campaign 1               ticks node 1 alone until its election timeout
 *     tick 1 5                 ticks node 1 so many times
 *     stabilize [without N..]  persists, sends, delivers and applies until all is quiet; messages from or to N are lost
 *     propose 1 TEXT           members 1 voters=1,2 learners=3        read 1        transfer 1 2        compact 1
 *     status [N..]             one line for each node
 *     log 1                    the entries behind the snapshot
 *
 * `stabilize` prints one line for each message that is delivered, each command applied and each read released.
 */
import { decode, Prng, utf8Decode, utf8Encode } from '@shoal/base'
import {
  type Entry,
  type Membership,
  membershipCodec,
  type RaftMessage,
  RaftNode,
  type Snapshot,
} from '../../src/index.ts'

interface Actor {
  readonly node: RaftNode
  readonly entries: Map<number, Entry>
  snapshot: Snapshot | undefined
}

const electionTicks = 10

export class Dialogue {
  private readonly actors = new Map<number, Actor>()
  private output: string[] = []

  /** Runs one command line; returns what it prints. */
  run(line: string): readonly string[] {
    this.output = []
    const [verb = '', ...words] = line.split(' ')
    const id = Number(words[0])
    switch (verb) {
      case 'cluster':
        for (const word of words) this.add(Number(word), { voters: words.map(Number), learners: [] })
        break
      case 'join':
        this.add(id, undefined)
        break
      case 'campaign':
        this.campaign(this.node(id))
        break
      case 'tick':
        for (let i = 0; i < Number(words[1]); i++) this.node(id).tick()
        break
      case 'stabilize':
        this.stabilize(new Set(words.slice(1).map(Number)))
        break
      case 'propose':
        this.print(this.node(id).propose(utf8Encode(words[1] ?? '')) === undefined ? 'refused' : undefined)
        break
      case 'members':
        this.print(this.node(id).proposeMembership(membershipOf(words.slice(1))) === undefined ? 'refused' : undefined)
        break
      case 'read':
        this.print(this.node(id).readIndex() === undefined ? 'refused' : undefined)
        break
      case 'transfer':
        this.node(id).transferLeadership(Number(words[1]))
        break
      case 'compact':
        this.compact(this.actor(id))
        break
      case 'status':
        for (const one of words.length > 0 ? words.map(Number) : [...this.actors.keys()]) this.status(this.node(one))
        break
      case 'log':
        this.print([...this.actor(id).entries.values()].map(describe).join(' '))
        break
      default:
        throw new Error(`unknown command '${line}'`)
    }
    return this.output
  }

  private print(line: string | undefined): void {
    if (line !== undefined) this.output.push(line)
  }

  private actor(id: number): Actor {
    const actor = this.actors.get(id)
    if (actor === undefined) throw new Error(`no node ${id}`)
    return actor
  }

  private node(id: number): RaftNode {
    return this.actor(id).node
  }

  private add(id: number, membership: Membership | undefined): void {
    const snapshot =
      membership === undefined ? undefined : { index: 1, term: 1, membership, data: utf8Encode('founding') }
    const node = new RaftNode({
      id,
      random: new Prng(id),
      electionTicks,
      heartbeatTicks: 3,
      hardState: { term: snapshot?.term ?? 0, votedFor: 0, commit: snapshot?.index ?? 0 },
      snapshot,
      entries: [],
      initialMembership: { voters: [], learners: [] },
    })
    const actor: Actor = { node, entries: new Map(), snapshot }
    node.snapshotSource = () => actor.snapshot
    this.actors.set(id, actor)
  }

  private campaign(node: RaftNode): void {
    for (let i = 0; i < 2 * electionTicks && !node.role.endsWith('candidate') && node.role !== 'leader'; i++)
      node.tick()
  }

  private stabilize(lost: ReadonlySet<number>): void {
    for (let round = 0; round < 100; round++) {
      const messages: RaftMessage[] = []
      for (const [id, actor] of this.actors)
        if (!lost.has(id)) while (actor.node.hasReady()) messages.push(...this.take(actor))
      if (messages.length === 0) return
      for (const message of messages) {
        if (lost.has(message.to)) continue
        this.print(`${message.from}->${message.to} ${say(message)}`)
        this.node(message.to).step(message)
      }
    }
    throw new Error('it never becomes quiet')
  }

  private take(actor: Actor): readonly RaftMessage[] {
    const { node, entries } = actor
    const ready = node.ready()
    if (ready.snapshot !== undefined) {
      entries.clear()
      actor.snapshot = ready.snapshot
      this.print(`${node.id} installs snapshot ${ready.snapshot.index} '${utf8Decode(ready.snapshot.data)}'`)
    }
    const first = ready.entries[0]?.index
    if (first !== undefined) for (const index of entries.keys()) if (index >= first) entries.delete(index)
    for (const entry of ready.entries) entries.set(entry.index, entry)
    for (const entry of ready.committed) {
      if (entry.kind !== 'empty') this.print(`${node.id} applies ${describe(entry)}`)
    }
    for (const read of ready.reads) this.print(`${node.id} may read at ${read.index}`)
    node.advance()
    return ready.messages
  }

  private compact(actor: Actor): void {
    const { node } = actor
    const index = node.appliedIndex
    actor.snapshot = { index, ...node.compact(index), data: utf8Encode(`state-${index}`) }
    for (const key of actor.entries.keys()) if (key <= index) actor.entries.delete(key)
  }

  private status(node: RaftNode): void {
    const { voters, learners } = node.membership
    const members = `voters=${voters.join()}${learners.length > 0 ? ` learners=${learners.join()}` : ''}`
    this.print(
      `${node.id} ${node.role} term=${node.term} leader=${node.leader} last=${node.lastIndex} commit=${node.commit} ${members}`,
    )
  }
}

function membershipOf(words: readonly string[]): Membership {
  const ids = (name: string): number[] => {
    const list = words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1)
    return list === undefined || list === '' ? [] : list.split(',').map(Number)
  }
  return { voters: ids('voters'), learners: ids('learners') }
}

function describe(entry: Entry): string {
  if (entry.kind === 'empty') return `${entry.index}/${entry.term}:-`
  if (entry.kind === 'command') return `${entry.index}/${entry.term}:${utf8Decode(entry.data)}`
  const { voters, learners } = decode(membershipCodec, entry.data)
  return `${entry.index}/${entry.term}:voters=${voters.join()}${learners.length > 0 ? ` learners=${learners.join()}` : ''}`
}

function say(message: RaftMessage): string {
  const head = `${message.type} term=${message.term}`
  switch (message.type) {
    case 'pre-vote':
    case 'vote':
      return `${head} last=${message.lastIndex}/${message.lastTerm}`
    case 'pre-vote-reply':
    case 'vote-reply':
      return `${head} ${message.granted ? 'granted' : 'refused'}`
    case 'append': {
      const entries = message.entries.map(describe).join(' ')
      return `${head} after=${message.previousIndex}/${message.previousTerm} commit=${message.commit} [${entries}]`
    }
    case 'append-reply':
      return `${head} ${message.rejected ? 'rejected, try' : 'has'} ${message.index}`
    case 'heartbeat':
      return `${head} commit=${message.commit} context=${message.context}`
    case 'heartbeat-reply':
      return `${head} context=${message.context}`
    case 'snapshot':
      return `${head} of ${message.snapshot.index}/${message.snapshot.term}`
    default:
      return head
  }
}
