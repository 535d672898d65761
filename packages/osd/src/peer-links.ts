/**
 * Messages between the placement groups of different OSDs, over the messenger's reliable outboxes.
 *
 * Invariant 1: a message is handled only after this OSD has the map of its sender; messages of one peer keep their order.
 *              What waits is bounded by what peers may have in flight: none goes on without our answer.
 * Invariant 2: a message from a run that the map does not show as up is dropped: the interval it was said in is over.
 * Invariant 3: an outbox is dropped only when its run of the peer is over. A peer that was marked down by mistake keeps
 *              its numbering.
 */
import { type Address, ClusterError, type EntityName, type Epoch, entityName, type Log, type OsdId } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import type { Messenger, PeerOutbox, ReceivedFrame, SessionPeer } from '@shoal/messenger'
import { decodeMessage, encodeMessage, type Message, type PgEnvelope } from '@shoal/wire'

interface Waiting {
  readonly peer: SessionPeer
  readonly from: OsdId
  readonly message: PgEnvelope
}

interface Link {
  readonly address: Address
  readonly incarnation: number
  readonly outbox: PeerOutbox
}

export class PeerLinks {
  private readonly log: Log
  private readonly deliver: (from: OsdId, message: PgEnvelope) => void
  private readonly links = new Map<OsdId, Link>()
  private waiting: Waiting[] = []
  private readonly waitingFor = new Set<EntityName>()
  private messenger: Messenger | undefined
  private map: OsdMap | undefined

  constructor(log: Log, deliver: (from: OsdId, message: PgEnvelope) => void) {
    this.log = log
    this.deliver = deliver
  }

  attach(messenger: Messenger): void {
    this.messenger = messenger
  }

  get waitingMessages(): number {
    return this.waiting.length
  }

  /** Dropped when the map does not show the peer as up: a new interval follows or has come. */
  send(to: OsdId, message: Message): void {
    const link = this.links.get(to) ?? this.open(to)
    if (link === undefined) return
    const { type, header, payload } = encodeMessage(message)
    link.outbox.send({ type, tid: 0, traceId: 0, header, payload })
  }

  /** Throws EPROTO or EBADMSG, which ends the connection. */
  onFrame(peer: SessionPeer, frame: ReceivedFrame): void {
    const from = osdOf(peer.name)
    const message = decodeMessage(frame.type, frame.header, frame.payload)
    if (message.type !== 'pg') throw new ClusterError('EPROTO', `${peer.name} sent ${message.type} as a peer`)
    if (message.epoch > this.epoch || this.waitingFor.has(peer.name)) {
      this.waiting.push({ peer, from, message })
      this.waitingFor.add(peer.name)
      return
    }
    this.pass(peer, from, message)
  }

  onPeerReset(name: EntityName): void {
    this.links.delete(osdOf(name))
  }

  onMap(map: OsdMap): void {
    this.map = map
    for (const [osd, link] of this.links) {
      const info = map.osds.get(osd)
      if (info?.incarnation === link.incarnation && info.addresses?.data === link.address) continue
      this.links.delete(osd)
      this.messenger?.dropPeer(entityName('osd', osd))
    }
  }

  /** After the placement groups have seen the map. */
  deliverWaiting(): void {
    if (this.waiting.length === 0) return
    const waiting = this.waiting
    this.waiting = []
    this.waitingFor.clear()
    for (const each of waiting) {
      if (each.message.epoch > this.epoch || this.waitingFor.has(each.peer.name)) {
        this.waiting.push(each)
        this.waitingFor.add(each.peer.name)
      } else {
        this.pass(each.peer, each.from, each.message)
      }
    }
  }

  private get epoch(): Epoch {
    return this.map?.epoch ?? (0 as Epoch)
  }

  private pass(peer: SessionPeer, from: OsdId, message: PgEnvelope): void {
    const info = this.map?.osds.get(from)
    if (info?.up !== true || info.incarnation !== peer.nonce) {
      this.log.debug('dropped a message of a run that is over', { from, pgId: message.pgId, epoch: message.epoch })
      return
    }
    this.deliver(from, message)
  }

  private open(to: OsdId): Link | undefined {
    const info = this.map?.osds.get(to)
    if (info?.up !== true || info.addresses === undefined || this.messenger === undefined) return undefined
    const address = info.addresses.data
    const outbox = this.messenger.peer(entityName('osd', to), address)
    const link = { address, incarnation: info.incarnation, outbox }
    this.links.set(to, link)
    return link
  }
}

/** Names that were taken apart before: the same few come with every message. */
const osds = new Map<EntityName, OsdId>()
const osdsMax = 4096

function osdOf(name: EntityName): OsdId {
  const known = osds.get(name)
  if (known !== undefined) return known
  const match = /^osd\.(\d{1,9})$/.exec(name)
  if (match === null) throw new ClusterError('EPROTO', `'${name}' is no OSD`)
  const osd = Number(match[1]) as OsdId
  if (osds.size >= osdsMax) osds.clear()
  osds.set(name, osd)
  return osd
}
