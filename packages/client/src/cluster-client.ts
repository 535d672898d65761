/** The client library: `const pool = client.pool('objects'); await pool.execute('name', [{kind: 'write-full', data}])`. */
import type { Env, Epoch } from '@shoal/base'
import type { MessengerSecurity } from '@shoal/messenger'
import {
  type ClientSettings,
  clientOptions,
  DaemonConfig,
  type MapSubscription,
  type MonitorClient,
} from '@shoal/monitor-client'
import { Objecter } from './objecter.ts'
import { PoolHandle } from './pool-handle.ts'
import { Throttle } from './throttle.ts'

const fenceTimeoutMs = 60_000

export interface ClusterClientOptions {
  /** Started; stays the caller's to close. */
  readonly monitor: MonitorClient
  /** See `securityFrom` of the messenger; nothing proven and nothing sealed when left out. */
  readonly security?: MessengerSecurity | undefined
  /** In place of defaults; the configuration of the cluster counts more. */
  readonly settings?: Partial<ClientSettings>
}

export class ClusterClient {
  /** What the cluster says for clients. */
  readonly config: DaemonConfig<ClientSettings>
  private readonly objecter: Objecter
  private readonly monitor: MonitorClient
  private readonly throttle: Throttle
  private readonly subscription: MapSubscription

  private constructor(objecter: Objecter, { monitor }: ClusterClientOptions, config: DaemonConfig<ClientSettings>) {
    this.objecter = objecter
    this.monitor = monitor
    this.config = config
    const { settings } = config
    this.throttle = new Throttle({
      get ops() {
        return settings.objecter_inflight_ops
      },
      get bytes() {
        return settings.objecter_inflight_op_bytes
      },
    })
    this.subscription = monitor.onConfig((effective) => config.apply(effective))
    if (monitor.config !== undefined) config.apply(monitor.config)
  }

  static async connect(
    env: Pick<Env, 'clock' | 'timers' | 'log' | 'network' | 'random'>,
    options: ClusterClientOptions,
  ): Promise<ClusterClient> {
    const { monitor, security } = options
    const config = new DaemonConfig(clientOptions, options.settings ?? {}, env.log)
    const objecter = await Objecter.create(env, { monitor, security, clientId: env.random.uint53() })
    return new ClusterClient(objecter, options, config)
  }

  /** A handle; whether the pool exists shows at the first operation. */
  pool(name: string, namespace = ''): PoolHandle {
    return new PoolHandle(name, namespace, this.objecter, this.monitor, this.throttle)
  }

  /** Names this client to others: in locks, and in fences. */
  get session(): number {
    return this.objecter.clientId
  }

  /**
   * Fences another client session: from when this resolves, nothing that it sends, or has sent, takes effect on an object
   * after this client's next operation on it, and no OSD that has heard of the fence does anything for it any more. Resolves
   * with the epoch of the fence: another client gets the same by `waitForMap`.
   */
  async fence(session: number, seconds: number): Promise<Epoch> {
    const { data } = await this.monitor.command({ prefix: 'osd blocklist add', session: String(session), seconds })
    const { epoch } = data as { readonly epoch: Epoch }
    await this.waitForMap(epoch)
    return epoch
  }

  /** Resolves once all that this client sends names this epoch of the map, or a later one. */
  async waitForMap(epoch: Epoch): Promise<void> {
    await this.monitor.waitForEpoch(epoch, fenceTimeoutMs)
  }

  /** Operations under way end with ESHUTDOWN. */
  close(): Promise<void> {
    this.subscription.cancel()
    return this.objecter.close()
  }
}
