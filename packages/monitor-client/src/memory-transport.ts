/**
 * The monitor protocol between daemons and clients of one process, for tests and the simulator. Every request, reply,
 * map update and consensus message is one delivery that the owner's `deliver` may delay, reorder or refuse, so that the
 * network's faults are decided by whoever holds the seed.
 *
 * Invariant 1: nothing is called inside a call of its caller; even an undelayed message arrives in a later turn.
 * Invariant 2: messages of one stream arrive in the order in which they were sent, or the stream ends.
 */
import { type Address, ClusterError, type Env, type Epoch } from '@shoal/base'
import type { AdminHandlers } from './admin/admin.ts'
import type { MemoryAdminTransport } from './admin/memory-admin.ts'
import type { CommandReply } from './monitor-client.ts'
import type {
  CommandRequest,
  ConsensusStream,
  MapUpdate,
  MonitorConnection,
  MonitorServer,
  MonitorService,
  MonitorTransport,
  Report,
  SubscribeRequest,
  SubscriptionHandler,
} from './transport.ts'

/**
 * Decides about one message from one endpoint to another: the delay in milliseconds, or undefined when it is lost.
 * Clients are named by the name that they gave to `MemoryMonitorNetwork.transport`.
 */
export type DeliverMessage = (from: string, to: string) => number | undefined

export class MemoryMonitorNetwork {
  readonly timers: Env['timers']
  readonly admin: MemoryAdminTransport
  private readonly deliver: DeliverMessage
  private readonly services = new Map<
    Address,
    { readonly service: MonitorService; readonly streams: Set<() => void> }
  >()

  constructor(timers: Env['timers'], admin: MemoryAdminTransport, deliver: DeliverMessage = () => 0) {
    this.timers = timers
    this.admin = admin
    this.deliver = deliver
  }

  /** The network as seen from one endpoint: an address for a monitor, any name for a client. */
  transport(name: string): MonitorTransport {
    return {
      connect: (address) => new MemoryConnection(this, name, address),
      serve: (address, service, admin) => this.serve(address, service, admin),
    }
  }

  /** The process that served this address is gone, without a goodbye: its streams break, its port refuses. */
  crash(address: Address): void {
    const streams = this.services.get(address)?.streams ?? []
    this.services.delete(address)
    for (const gone of [...streams]) gone()
    this.admin.close(address)
  }

  serviceAt(address: Address): MonitorService | undefined {
    return this.services.get(address)?.service
  }

  /** Registers what must be told when the server at the address goes away; returns how to take that back. */
  onServerGone(address: Address, gone: () => void): () => void {
    const streams = this.services.get(address)?.streams
    streams?.add(gone)
    return () => streams?.delete(gone)
  }

  /** False when the message was lost. */
  send(from: string, to: string, arrive: () => void): boolean {
    const delayMs = this.deliver(from, to)
    if (delayMs === undefined) return false
    this.timers.after(delayMs, arrive)
    return true
  }

  private async serve(address: Address, service: MonitorService, admin: AdminHandlers): Promise<MonitorServer> {
    if (this.services.has(address)) throw new ClusterError('EBUSY', `${address} is taken`)
    const streams = new Set<() => void>()
    this.services.set(address, { service, streams })
    const adminServer = await this.admin.serve(address, admin)
    return {
      address,
      close: async () => {
        this.services.delete(address)
        for (const gone of [...streams]) gone()
        await adminServer.close()
      },
    }
  }
}

class MemoryConnection implements MonitorConnection {
  private readonly network: MemoryMonitorNetwork
  private readonly from: string
  private readonly to: Address
  private closed = false

  constructor(network: MemoryMonitorNetwork, from: string, to: Address) {
    this.network = network
    this.from = from
    this.to = to
  }

  command(request: CommandRequest): Promise<CommandReply> {
    return this.call(request.timeoutMs, (service) => service.command(request))
  }

  report(reports: readonly Report[], forwarded: boolean, timeoutMs: number): Promise<void> {
    return this.call(timeoutMs, (service) => service.report(reports, forwarded))
  }

  osdMap(epoch: Epoch, timeoutMs: number): Promise<Uint8Array> {
    return this.call(timeoutMs, (service) => service.osdMap(epoch))
  }

  subscribe(request: SubscribeRequest, handler: SubscriptionHandler): { cancel(): void } {
    return new MemorySubscription(this.network, this.from, this.to, request, handler)
  }

  openConsensus(onEnd: (reason: ClusterError) => void): ConsensusStream {
    let open = true
    if (this.network.serviceAt(this.to) === undefined) {
      open = false
      this.network.timers.soon(() => onEnd(this.refused()))
    }
    const forget = this.network.onServerGone(this.to, () => {
      if (open) onEnd(new ClusterError('ECONNRESET', `${this.to} went away`, { retry: true }))
      open = false
    })
    return {
      send: (message) =>
        open && this.network.send(this.from, this.to, () => this.network.serviceAt(this.to)?.consensus(message)),
      close: () => {
        open = false
        forget()
      },
    }
  }

  close(): void {
    this.closed = true
  }

  private refused(): ClusterError {
    return new ClusterError('ECONNREFUSED', `nobody listens on ${this.to}`, { retry: true })
  }

  private call<T>(timeoutMs: number, run: (service: MonitorService) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.network.timers.after(timeoutMs, () =>
        reject(new ClusterError('ETIMEDOUT', `no answer within ${timeoutMs} ms`, { retry: true, outcome: 'unknown' })),
      )
      const settle = (action: () => void) => {
        this.network.send(this.to, this.from, () => {
          timer.cancel()
          action()
        })
      }
      this.network.send(this.from, this.to, () => {
        const service = this.closed ? undefined : this.network.serviceAt(this.to)
        if (service === undefined) return settle(() => reject(this.refused()))
        run(service).then(
          (value) => settle(() => resolve(value)),
          (error) => settle(() => reject(error)),
        )
      })
    })
  }
}

class MemorySubscription {
  private readonly network: MemoryMonitorNetwork
  private readonly from: string
  private readonly to: Address
  private readonly handler: SubscriptionHandler
  private readonly queue: (MapUpdate | ClusterError)[] = []
  private over = false
  private delivering = false
  private stop: () => void = () => undefined

  constructor(
    network: MemoryMonitorNetwork,
    from: string,
    to: Address,
    request: SubscribeRequest,
    handler: SubscriptionHandler,
  ) {
    this.network = network
    this.from = from
    this.to = to
    this.handler = handler
    const lost = !network.send(from, to, () => this.open(request))
    if (lost)
      network.timers.soon(() => this.end(new ClusterError('ECONNRESET', `${to} is out of reach`, { retry: true })))
  }

  cancel(): void {
    this.over = true
    this.stop()
  }

  private open(request: SubscribeRequest): void {
    if (this.over) return
    const service = this.network.serviceAt(this.to)
    if (service === undefined) {
      this.end(new ClusterError('ECONNREFUSED', `nobody listens on ${this.to}`, { retry: true }))
      return
    }
    const forget = this.network.onServerGone(this.to, () =>
      this.end(new ClusterError('ECONNRESET', `${this.to} went away`, { retry: true })),
    )
    const session = service.subscribe(request, {
      update: (update) => this.push(update),
      end: (reason) => void this.push(reason),
    })
    this.stop = () => {
      forget()
      session.cancel()
    }
  }

  private push(item: MapUpdate | ClusterError): boolean {
    this.queue.push(item)
    this.pump()
    return true
  }

  /** One message under way at a time: Invariant 2. A lost one breaks the stream, as TCP would. */
  private pump(): void {
    if (this.delivering || this.over || this.queue.length === 0) return
    this.delivering = true
    const sent = this.network.send(this.to, this.from, () => {
      this.delivering = false
      const item = this.queue.shift()
      if (this.over || item === undefined) return
      if (item instanceof ClusterError) return this.end(item)
      this.handler.onUpdate(item)
      this.pump()
    })
    if (!sent) {
      this.network.timers.soon(() =>
        this.end(new ClusterError('ECONNRESET', `${this.to} is out of reach`, { retry: true })),
      )
    }
  }

  private end(reason: ClusterError): void {
    if (this.over) return
    this.cancel()
    this.handler.onEnd(reason)
  }
}
