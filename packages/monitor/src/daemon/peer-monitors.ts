/** Connections to the other monitors: consensus messages both ways, and requests that are passed on to the leader. */
import type { Address, Env } from '@shoal/base'
import type { MonitorMap } from '@shoal/cluster-map'
import type { ConsensusStream, MonitorConnection, MonitorTransport } from '@shoal/monitor-client'
import type { RaftTransport } from '../consensus/consensus-driver.ts'

/** A stream that broke is opened again at the next message after this. */
const reopenMs = 250
/** Monitors outside the map whose addresses are kept; the oldest goes first. */
const introducedMax = 16

interface Peer {
  readonly address: Address
  readonly connection: MonitorConnection
  stream: ConsensusStream | undefined
  closedMs: number
}

export class PeerMonitors implements RaftTransport {
  private readonly env: Pick<Env, 'clock'>
  private readonly transport: MonitorTransport
  private readonly own: number
  private readonly ownAddress: () => Address
  private readonly peers = new Map<number, Peer>()
  /**
   * Addresses of monitors that sent something and are not in the map. Who was away while all of its peers were replaced
   * learns the new map only from those that replaced them, and they send it after it answered.
   */
  private readonly introduced = new Map<number, Address>()
  private map: MonitorMap | undefined

  /** `ownAddress` is asked for at each message: it is known once the monitor listens. */
  constructor(env: Pick<Env, 'clock'>, transport: MonitorTransport, own: number, ownAddress: () => Address) {
    this.env = env
    this.transport = transport
    this.own = own
    this.ownAddress = ownAddress
  }

  setMap(map: MonitorMap): void {
    this.map = map
    for (const { id } of map.monitors) this.introduced.delete(id)
    for (const [id, peer] of this.peers) {
      if (this.addressOf(id) !== peer.address) this.disconnect(id, peer)
    }
  }

  /** A message came from the monitor `id`, which listens at `address`. The map's word counts where it has one. */
  introduce(id: number, address: Address): void {
    if (address === '' || this.addressOf(id) === address || this.inMap(id) !== undefined) return
    this.introduced.delete(id)
    this.introduced.set(id, address)
    const [oldest] = this.introduced.keys()
    if (oldest !== undefined && this.introduced.size > introducedMax) this.introduced.delete(oldest)
    const peer = this.peers.get(id)
    if (peer !== undefined) this.disconnect(id, peer)
  }

  /** Undefined for a monitor that is not in the map and did not introduce itself. */
  connection(id: number): MonitorConnection | undefined {
    return this.peer(id)?.connection
  }

  send(to: number, payload: Uint8Array): void {
    const peer = this.peer(to)
    if (peer === undefined) return
    const nowMs = this.env.clock.monotonicMs()
    if (peer.stream === undefined) {
      if (nowMs - peer.closedMs < reopenMs) return
      const stream = peer.connection.openConsensus(() => {
        if (peer.stream !== stream) return
        peer.stream = undefined
        peer.closedMs = this.env.clock.monotonicMs()
      })
      peer.stream = stream
    }
    peer.stream.send({ from: this.own, to, payload, address: this.ownAddress() })
  }

  close(): void {
    for (const [id, peer] of this.peers) this.disconnect(id, peer)
  }

  private inMap(id: number): Address | undefined {
    return this.map?.monitors.find((one) => one.id === id)?.address
  }

  private addressOf(id: number): Address | undefined {
    return this.inMap(id) ?? this.introduced.get(id)
  }

  private disconnect(id: number, peer: Peer): void {
    this.peers.delete(id)
    peer.stream?.close()
    peer.connection.close()
  }

  private peer(id: number): Peer | undefined {
    let peer = this.peers.get(id)
    if (peer === undefined) {
      const address = this.addressOf(id)
      if (address === undefined || id === this.own) return undefined
      const closedMs = Number.NEGATIVE_INFINITY
      peer = { address, connection: this.transport.connect(address), stream: undefined, closedMs }
      this.peers.set(id, peer)
    }
    return peer
  }
}
