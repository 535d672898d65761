/**
 * The monitor protocol between simulated machines: what gRPC does in production, over the simulated network, so that a
 * partition, a stopped process and a lost host look to the monitors as they look to everybody else.
 */
import { type Address, ClusterError, parseAddress } from '@shoal/base'
import type {
  AdminHandlers,
  CommandReply,
  CommandRequest,
  ConsensusStream,
  MapUpdate,
  MemoryAdminTransport,
  MonitorConnection,
  MonitorServer,
  MonitorService,
  MonitorTransport,
  Report,
  SubscribeRequest,
  SubscriptionHandler,
} from '@shoal/monitor-client'
import type { SimNetwork, SimTime } from '@shoal/testkit'
import type { Trace } from '../trace.ts'
import { type Endpoint, type LinkWorld, MonitorLink, type ServedMonitor } from './monitor-link.ts'

const sweepMs = 2_000
/** Consensus messages on the way beyond which more are dropped, as a full stream drops them. */
const consensusBacklogMax = 256
/** Updates on the way beyond which the monitor is told to hold back. */
const updatesBacklogMax = 8

export class SimMonitorNetwork implements LinkWorld {
  readonly network: SimNetwork
  private readonly time: SimTime
  private readonly admin: MemoryAdminTransport
  private readonly trace: Trace
  private readonly served = new Map<Address, ServedMonitor>()
  private readonly links = new Set<MonitorLink>()

  constructor(time: SimTime, network: SimNetwork, admin: MemoryAdminTransport, trace: Trace) {
    this.time = time
    this.network = network
    this.admin = admin
    this.trace = trace
    this.scheduleSweep()
  }

  /** The monitors as one life of one process sees them. */
  transport(near: Endpoint): MonitorTransport {
    return {
      connect: (address) => new SimConnection(this, near, address),
      serve: (address, service, admin) => this.serve(near, address, service, admin),
    }
  }

  /** The process is gone and its kernel closes its connections. */
  processEnded(host: string): void {
    const reason = new ClusterError('ECONNRESET', `${host} went away`, { retry: true, outcome: 'unknown' })
    this.forget(host)
    for (const link of this.links) {
      if (link.near.host === host) link.end('near', reason)
      else if (link.farHost === host) link.end('far', reason)
    }
  }

  /** The host is gone without a word. */
  hostLost(host: string): void {
    this.forget(host)
  }

  nowMs = (): number => this.time.nowMs

  find(address: Address): ServedMonitor | undefined {
    return this.served.get(address)
  }

  note(from: string, to: string, what: string): void {
    this.trace.text(from)
    this.trace.text(to)
    this.trace.text(what)
    this.trace.line(this.time.nowMs, () => `mon ${from} > ${to} ${what}`)
  }

  open(near: Endpoint, address: Address): MonitorLink {
    const link = new MonitorLink(this, near, parseAddress(address)?.host ?? '', address)
    this.links.add(link)
    return link
  }

  private forget(host: string): void {
    for (const [address, served] of this.served) {
      if (served.host !== host) continue
      this.served.delete(address)
      this.admin.close(address)
    }
  }

  private scheduleSweep(): void {
    this.time.schedule(sweepMs, undefined, () => {
      for (const link of this.links) if (!link.sweep()) this.links.delete(link)
      this.scheduleSweep()
    })
  }

  private async serve(
    near: Endpoint,
    address: Address,
    service: MonitorService,
    admin: AdminHandlers,
  ): Promise<MonitorServer> {
    if (this.served.has(address)) throw new ClusterError('EBUSY', `${address} is taken`)
    this.served.set(address, { ...near, service })
    const adminServer = await this.admin.serve(address, admin)
    return {
      address,
      close: async () => {
        if (this.served.get(address)?.scope === near.scope) this.served.delete(address)
        const reason = new ClusterError('ECONNRESET', `${address} closed`, { retry: true, outcome: 'unknown' })
        for (const link of this.links) if (link.farHost === near.host) link.end('far', reason)
        await adminServer.close()
      },
    }
  }
}

class SimConnection implements MonitorConnection {
  private readonly monitors: SimMonitorNetwork
  private readonly near: Endpoint
  private readonly address: Address
  private readonly calls = new Set<(error: ClusterError) => void>()
  private current: MonitorLink | undefined
  private closed = false

  constructor(monitors: SimMonitorNetwork, near: Endpoint, address: Address) {
    this.monitors = monitors
    this.near = near
    this.address = address
  }

  command(request: CommandRequest): Promise<CommandReply> {
    return this.call(`command ${request.command.prefix}`, request.timeoutMs, (service) => service.command(request))
  }

  report(reports: readonly Report[], forwarded: boolean, timeoutMs: number): Promise<void> {
    return this.call(`report ${reports.map((report) => report.kind).join(' ')}`, timeoutMs, (service) =>
      service.report(reports, forwarded),
    )
  }

  osdMap(epoch: Parameters<MonitorService['osdMap']>[0], timeoutMs: number): Promise<Uint8Array> {
    return this.call(`osdMap ${epoch}`, timeoutMs, (service) => service.osdMap(epoch))
  }

  subscribe(request: SubscribeRequest, handler: SubscriptionHandler): { cancel(): void } {
    const link = this.link()
    let over = false
    let cancelFar = (): void => undefined
    const end = (reason: ClusterError): void => {
      if (over) return
      over = true
      handler.onEnd(reason)
    }
    const forgetNear = link.onNearEnd(end)
    link.send(`subscribe ${request.osdMapEpoch}`, ({ service }) => {
      let forgetFar = (): void => undefined
      const session = service.subscribe(request, {
        update: (update: MapUpdate) => {
          link.reply('update', () => {
            if (!over) handler.onUpdate(update)
          })
          if (link.backlogBack < updatesBacklogMax) return true
          link.whenBackIsShorter(updatesBacklogMax / 2, () => session.drained())
          return false
        },
        end: (reason) => {
          forgetFar()
          link.reply('end', () => end(reason))
        },
      })
      forgetFar = link.onFarEnd(() => session.cancel())
      cancelFar = () => {
        forgetFar()
        session.cancel()
      }
    })
    return {
      cancel: () => {
        over = true
        forgetNear()
        link.send('unsubscribe', () => cancelFar())
      },
    }
  }

  openConsensus(onEnd: (reason: ClusterError) => void): ConsensusStream {
    const link = this.link()
    let open = true
    const forget = link.onNearEnd((reason) => {
      if (open) onEnd(reason)
      open = false
    })
    return {
      send: (message) => {
        if (!open || link.isBroken || link.backlog >= consensusBacklogMax) return false
        link.send(`consensus ${message.payload.length}`, ({ service }) => service.consensus(message))
        return true
      },
      close: () => {
        open = false
        forget()
      },
    }
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    const reason = new ClusterError('ECANCELED', 'the connection was closed', { retry: true, outcome: 'unknown' })
    for (const fail of [...this.calls]) this.near.scope.timers.soon(() => fail(reason))
    this.current?.end('near', reason)
  }

  private link(): MonitorLink {
    if (this.current === undefined || this.current.isBroken) this.current = this.monitors.open(this.near, this.address)
    return this.current
  }

  private call<T>(what: string, timeoutMs: number, run: (service: MonitorService) => Promise<T>): Promise<T> {
    const { near } = this
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(new ClusterError('ECANCELED', 'the connection is closed', { retry: true }))
        return
      }
      const link = this.link()
      const finish = (settle: () => void): void => {
        timer.cancel()
        forget()
        this.calls.delete(fail)
        settle()
      }
      const fail = (error: ClusterError): void => finish(() => reject(error))
      const timer = near.scope.timers.after(timeoutMs, () =>
        fail(new ClusterError('ETIMEDOUT', `no answer within ${timeoutMs} ms`, { retry: true, outcome: 'unknown' })),
      )
      const forget = link.onNearEnd(fail)
      this.calls.add(fail)
      link.send(what, ({ service }) => {
        run(service).then(
          (value) => link.reply('reply', () => finish(() => resolve(value))),
          (error: ClusterError) => link.reply('error', () => fail(error)),
        )
      })
    })
  }
}
