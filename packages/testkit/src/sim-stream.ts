/** One end of a simulated connection. Its owner's calls never lead to callbacks within them. */
import { type ByteStream, type ByteStreamHandler, ClusterError, type ErrorCode, type Random } from '@shoal/base'
import type { NetworkFaults } from './sim-network.ts'
import type { SimScope, SimTime } from './sim-time.ts'

export interface StreamWorld {
  readonly time: SimTime
  readonly random: Random
  readonly faults: NetworkFaults
  travel(from: string, to: string, act: () => void): void
  closed(stream: SimStream): void
  delivered(from: string, to: string, bytes: Uint8Array): void
}

const highWaterBytes = 1024 * 1024
/** Bytes on the way at one time: the socket buffers of a real connection. */
const windowBytes = 256 * 1024

/** Small pieces are cut from one large buffer: an allocation of its own for each costs more than filling it. */
const slabBytes = 64 * 1024
const slabShareBytesMax = 2 * 1024
let slab = new ArrayBuffer(slabBytes)
let slabUsed = 0

function newPiece(bytes: number): Uint8Array {
  if (bytes > slabShareBytesMax) return new Uint8Array(bytes)
  if (bytes > slabBytes - slabUsed) {
    slab = new ArrayBuffer(slabBytes)
    slabUsed = 0
  }
  const piece = new Uint8Array(slab, slabUsed, bytes)
  slabUsed += bytes
  return piece
}

/** What was received last, whoever received it. */
let lent: Uint8Array = new Uint8Array(slabBytes)

export class SimStream implements ByteStream {
  readonly remote: string
  readonly local: string
  readonly peerHost: string
  /** The listener's address, on the accepting side. */
  readonly acceptedBy: string | undefined
  private readonly world: StreamWorld
  private readonly scope: SimScope
  private handler: ByteStreamHandler | undefined
  private peer: SimStream | undefined
  private isOpen = false
  private closed = false
  private ending = false
  /** Written, not yet on the way. */
  private outgoing: Uint8Array[] = []
  private outgoingBytes = 0
  private wireBytes = 0
  private readonly onWay: { readonly act: () => void; arrived: boolean }[] = []
  private sendScheduled = false
  private drainWanted = false
  /** Arrived, not yet delivered: the owner paused. */
  private arrived: (Uint8Array | 'end')[] = []
  private paused = false

  constructor(
    world: StreamWorld,
    scope: SimScope,
    ends: { readonly local: string; readonly peerHost: string; readonly remote: string; readonly acceptedBy?: string },
  ) {
    this.world = world
    this.scope = scope
    this.local = ends.local
    this.peerHost = ends.peerHost
    this.remote = ends.remote
    this.acceptedBy = ends.acceptedBy
  }

  get bufferedBytes(): number {
    return this.outgoingBytes + this.wireBytes
  }

  get isClosed(): boolean {
    return this.closed
  }

  get isConnecting(): boolean {
    return !this.isOpen
  }

  attach(handler: ByteStreamHandler): void {
    this.handler = handler
    if (this.isOpen) this.later(() => handler.onOpen())
  }

  write(chunks: readonly Uint8Array[]): boolean {
    if (this.closed || this.ending) return true
    for (const chunk of chunks) {
      this.outgoing.push(chunk)
      this.outgoingBytes += chunk.length
    }
    // Sending only puts bytes on their way: nothing is called within the owner's call.
    if (this.isOpen && !this.sendScheduled) this.send()
    if (this.bufferedBytes < highWaterBytes) return true
    this.drainWanted = true
    return false
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.later(() => this.deliverArrived())
  }

  end(): void {
    if (this.closed || this.ending) return
    this.ending = true
    this.scheduleSend()
  }

  destroy(): void {
    if (this.closed) return
    const { peer } = this
    if (peer !== undefined) this.world.travel(this.local, this.peerHost, () => peer.arrive('end'))
    this.close(undefined)
  }

  // For the network

  joinTo(peer: SimStream): void {
    this.peer = peer
  }

  /** The handshake is done. The accepting side's handler is not attached yet. */
  opened(): void {
    if (this.closed) return
    this.isOpen = true
    this.handler?.onOpen()
    this.scheduleSend()
  }

  /** What comes next on the way comes after all that is on it already, though each has a delay of its own. */
  order(act: () => void): void {
    const item = { act, arrived: false }
    this.onWay.push(item)
    this.world.travel(this.local, this.peerHost, () => {
      item.arrived = true
      while (this.onWay[0]?.arrived === true) this.onWay.shift()?.act()
    })
  }

  /** Both ends see the connection break. */
  cut(code: ErrorCode): void {
    this.breakWith(code)
    this.peer?.breakWith(code)
  }

  /** Its process is gone: nothing is told here, the peer sees a reset. */
  abandon(): void {
    const { peer } = this
    this.closed = true
    this.world.closed(this)
    if (peer !== undefined) this.world.travel(this.local, this.peerHost, () => peer.breakWith('ECONNRESET'))
  }

  private breakWith(code: ErrorCode): void {
    this.close(new ClusterError(code, `${this.remote}: ${code}`, { retry: true, outcome: 'unknown' }))
  }

  private close(error: Error | undefined): void {
    if (this.closed) return
    this.closed = true
    this.outgoing = []
    this.outgoingBytes = 0
    this.arrived = []
    this.world.closed(this)
    this.scope.timers.soon(() => this.handler?.onClose(error))
  }

  /** Runs `act` in a turn of its own, unless the stream closed meanwhile. */
  private later(act: () => void): void {
    this.scope.timers.soon(() => {
      if (!this.closed) act()
    })
  }

  private scheduleSend(): void {
    if (this.sendScheduled || !this.isOpen) return
    this.sendScheduled = true
    this.later(() => {
      this.sendScheduled = false
      this.send()
    })
  }

  /** Puts bytes on the wire, in pieces of drawn sizes. */
  private send(): void {
    const { world, peer } = this
    if (peer === undefined) return
    while (this.outgoingBytes > 0 && this.wireBytes < windowBytes) {
      const wanted = Math.min(this.outgoingBytes, 1 + world.random.below(world.faults.chunkBytesMax))
      const piece = this.takeOutgoing(wanted)
      this.wireBytes += piece.length
      this.order(() => peer.onPiece(piece))
    }
    if (this.ending && this.outgoingBytes === 0) {
      this.order(() => peer.arrive('end'))
      this.order(() => this.close(undefined))
    }
  }

  private takeOutgoing(bytes: number): Uint8Array {
    // The receiver owns what it gets: never the sender's buffers.
    const piece = newPiece(bytes)
    const { outgoing } = this
    let done = 0
    let whole = 0
    while (done < bytes) {
      const first = outgoing[whole] as Uint8Array
      const missing = bytes - done
      if (first.length <= missing) {
        piece.set(first, done)
        done += first.length
        whole++
      } else {
        piece.set(first.subarray(0, missing), done)
        outgoing[whole] = first.subarray(missing)
        done = bytes
      }
    }
    if (whole === outgoing.length) this.outgoing = []
    else outgoing.splice(0, whole)
    this.outgoingBytes -= bytes
    return piece
  }

  private onPiece(piece: Uint8Array): void {
    const { world } = this
    if (this.closed) return
    if (world.faults.resetProbability > 0 && world.random.fraction() < world.faults.resetProbability) {
      const kept = world.random.below(piece.length + 1)
      if (kept > 0 && !this.paused) this.lend(piece.subarray(0, kept))
      this.cut('ECONNRESET')
      return
    }
    this.arrive(piece)
  }

  private arrive(piece: Uint8Array | 'end'): void {
    if (this.closed) return
    this.arrived.push(piece)
    this.deliverArrived()
  }

  private deliverArrived(): void {
    while (!this.paused && !this.closed && !this.scope.ended) {
      const piece = this.arrived.shift()
      if (piece === undefined) return
      if (piece === 'end') return this.onEnd()
      this.peer?.acknowledge(piece.length)
      this.world.delivered(this.peerHost, this.local, piece)
      this.lend(piece)
    }
  }

  /** Whoever keeps a view of what is only lent finds other bytes there later, as on a real machine. */
  private lend(piece: Uint8Array): void {
    if (lent.length < piece.length) lent = new Uint8Array(piece.length)
    lent.set(piece)
    this.handler?.onData(lent.subarray(0, piece.length))
  }

  private onEnd(): void {
    const { peer } = this
    if (peer !== undefined) this.world.travel(this.local, this.peerHost, () => peer.close(undefined))
    this.close(undefined)
  }

  private acknowledge(bytes: number): void {
    this.wireBytes -= bytes
    if (this.closed) return
    if (this.outgoingBytes > 0 && !this.sendScheduled) this.send()
    if (!this.drainWanted || this.bufferedBytes >= highWaterBytes / 2) return
    this.drainWanted = false
    this.later(() => this.handler?.onDrain())
  }
}
