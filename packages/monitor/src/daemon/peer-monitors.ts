/** Connections to the other monitors: consensus messages both ways, and requests that are passed on to the leader. */
import type { Env } from '@shoal/base'
import type { MonitorMap } from '@shoal/cluster-map'
import type { ConsensusStream, MonitorConnection, MonitorTransport } from '@shoal/monitor-client'
import type { RaftTransport } from '../consensus/consensus-driver.ts'

/** A stream that broke is opened again at the next message after this. */
const reopenMs = 250

interface Peer {
  readonly address: string
  readonly connection: MonitorConnection
  stream: ConsensusStream | undefined
  closedMs: number
}

export class PeerMonitors implements RaftTransport {
  private readonly env: Pick<Env, 'clock'>
  private readonly transport: MonitorTransport
  private readonly own: number
  private readonly peers = new Map<number, Peer>()
  private map: MonitorMap | undefined

  constructor(env: Pick<Env, 'clock'>, transport: MonitorTransport, own: number) {
    this.env = env
    this.transport = transport
    this.own = own
  }

  setMap(map: MonitorMap): void {
    this.map = map
    for (const [id, peer] of this.peers) {
      const monitor = map.monitors.find((one) => one.id === id)
      if (monitor?.address === peer.address) continue
      this.peers.delete(id)
      peer.stream?.close()
      peer.connection.close()
    }
  }

  /** Undefined for a monitor that the map does not have. */
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
    peer.stream.send({ from: this.own, to, payload })
  }

  close(): void {
    for (const peer of this.peers.values()) {
      peer.stream?.close()
      peer.connection.close()
    }
    this.peers.clear()
  }

  private peer(id: number): Peer | undefined {
    let peer = this.peers.get(id)
    if (peer === undefined) {
      const address = this.map?.monitors.find((one) => one.id === id)?.address
      if (address === undefined || id === this.own) return undefined
      const closedMs = Number.NEGATIVE_INFINITY
      peer = { address, connection: this.transport.connect(address), stream: undefined, closedMs }
      this.peers.set(id, peer)
    }
    return peer
  }
}
