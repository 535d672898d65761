/**
 * The monitor protocol as interfaces: what `protos/monitor.proto` says, in our own types. Production carries it over
 * gRPC, tests and the simulator in memory; neither the client nor the daemon can tell which.
 *
 * Failures are ClusterErrors everywhere. `retry` says that the same request may succeed later or elsewhere, `outcome`
 * whether it may have taken effect.
 */
import type { Address, ClusterError, Epoch, OsdId, PgId } from '@shoal/base'
import type { AdminHandlers } from './admin/admin.ts'
import type {
  ClusterLogEntry,
  CommandReply,
  FailureReport,
  MonitorCommand,
  OsdBoot,
  StatsReport,
} from './monitor-client.ts'

export interface CommandRequest {
  readonly command: MonitorCommand
  /** The same in every retry; a command runs once per id. */
  readonly requestId: string
  /** Read what the asked monitor has, even without a quorum. */
  readonly stale: boolean
  /** Came from another monitor, which took the receiver for the leader. */
  readonly forwarded: boolean
  readonly timeoutMs: number
}

/** What OSDs tell the leader. */
export type Report =
  | { readonly kind: 'boot'; readonly boot: OsdBoot }
  | { readonly kind: 'shutdown'; readonly osd: OsdId; readonly incarnation: number }
  | { readonly kind: 'failure'; readonly failure: FailureReport }
  | { readonly kind: 'up-thru'; readonly osd: OsdId; readonly epoch: Epoch }
  | {
      readonly kind: 'pg-temp'
      readonly osd: OsdId
      readonly epoch: Epoch
      readonly entries: ReadonlyMap<PgId, readonly OsdId[]>
    }
  | { readonly kind: 'stats'; readonly stats: StatsReport }
  | { readonly kind: 'log'; readonly entry: ClusterLogEntry }

export interface SubscribeRequest {
  readonly entity: string
  /** The machine, as CRUSH would name it, for masks of the configuration; empty for none. */
  readonly host: string
  /** The newest OSD map held; 0 for none. */
  readonly osdMapEpoch: Epoch
  readonly monitorMapEpoch: number
}

export interface Quorum {
  readonly term: number
  /** Raft id; 0 while there is no leader. */
  readonly leaderId: number
}

export interface MapUpdate {
  readonly osdMapFull: Uint8Array | undefined
  readonly osdMapIncrementals: readonly Uint8Array[]
  readonly monitorMap: Uint8Array | undefined
  /** Set whenever leader or term changed. */
  readonly quorum: Quorum | undefined
  /** What the configuration says for this subscriber (`effectiveConfigCodec`), whenever that changed. */
  readonly config: Uint8Array | undefined
}

/** A consensus message between two monitors, by raft ids. */
export interface ConsensusMessage {
  readonly from: number
  readonly to: number
  readonly payload: Uint8Array
  /** Where the sender listens: the receiver may have been away while it joined. Empty from older monitors. */
  readonly address: Address
}

/** The monitor's end of a subscription. */
export interface Subscriber {
  /** False: hold back until `drained` of the session is called. */
  update(update: MapUpdate): boolean
  /** The monitor ends the subscription; the subscriber should look for another monitor. */
  end(reason: ClusterError): void
}

export interface SubscriberSession {
  /** The subscriber went away. Idempotent. */
  cancel(): void
  drained(): void
}

/** What a monitor answers. */
export interface MonitorService {
  command(request: CommandRequest): Promise<CommandReply>
  /** Resolves when the leader has the reports; a `shutdown` among them has then been committed. */
  report(reports: readonly Report[], forwarded: boolean): Promise<void>
  /** The encoded full map; ENOENT when that epoch is trimmed or in the future. */
  osdMap(epoch: Epoch): Promise<Uint8Array>
  subscribe(request: SubscribeRequest, subscriber: Subscriber): SubscriberSession
  consensus(message: ConsensusMessage): void
}

export interface MonitorServer {
  /** With the port that was given for port 0. */
  readonly address: Address
  close(): Promise<void>
}

export interface SubscriptionHandler {
  onUpdate(update: MapUpdate): void
  /** Exactly once, last, unless the subscriber cancelled. */
  onEnd(reason: ClusterError): void
}

export interface ConsensusStream {
  /** False: the message was dropped, for the stream is full or broken. Raft repeats what matters. */
  send(message: ConsensusMessage): boolean
  close(): void
}

/** A client's view of one monitor. Opened lazily: a monitor that is away shows in the first call. */
export interface MonitorConnection {
  command(request: CommandRequest): Promise<CommandReply>
  report(reports: readonly Report[], forwarded: boolean, timeoutMs: number): Promise<void>
  osdMap(epoch: Epoch, timeoutMs: number): Promise<Uint8Array>
  subscribe(request: SubscribeRequest, handler: SubscriptionHandler): { cancel(): void }
  /** `onEnd` comes exactly once unless the caller closed. */
  openConsensus(onEnd: (reason: ClusterError) => void): ConsensusStream
  close(): void
}

export interface MonitorTransport {
  connect(address: Address): MonitorConnection
  /** The admin calls of the daemon share its port. Rejects with EBUSY when the address is taken. */
  serve(address: Address, service: MonitorService, admin: AdminHandlers): Promise<MonitorServer>
}
