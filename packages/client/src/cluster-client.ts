/** The client library: `const pool = client.pool('objects'); await pool.execute('name', [{kind: 'write-full', data}])`. */
import type { Env, Epoch } from '@shoal/base'
import type { MessengerSecurity } from '@shoal/messenger'
import type { MonitorClient } from '@shoal/monitor-client'
import { Objecter } from './objecter.ts'
import { PoolHandle } from './pool-handle.ts'
import { Throttle } from './throttle.ts'

const fenceTimeoutMs = 60_000

export interface ClusterClientOptions {
  /** Started; stays the caller's to close. */
  readonly monitor: MonitorClient
  /** See `securityFrom` of the messenger; nothing proven and nothing sealed when left out. */
  readonly security?: MessengerSecurity | undefined
  readonly operationsMax?: number
  readonly bytesMax?: number
}

export class ClusterClient {
  private readonly objecter: Objecter
  private readonly monitor: MonitorClient
  private readonly throttle: Throttle

  private constructor(objecter: Objecter, options: ClusterClientOptions) {
    this.objecter = objecter
    this.monitor = options.monitor
    this.throttle = new Throttle(options.operationsMax ?? 1024, options.bytesMax ?? 128 * 1024 * 1024)
  }

  static async connect(
    env: Pick<Env, 'clock' | 'timers' | 'log' | 'network' | 'random'>,
    options: ClusterClientOptions,
  ): Promise<ClusterClient> {
    const { monitor, security } = options
    const objecter = await Objecter.create(env, { monitor, security, clientId: env.random.uint53() })
    return new ClusterClient(objecter, options)
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
   * after this client's next operation on it, and no OSD that has heard of the fence does anything for it any more.
   */
  async fence(session: number, seconds: number): Promise<void> {
    const { data } = await this.monitor.command({ prefix: 'osd blocklist add', session: String(session), seconds })
    await this.monitor.waitForEpoch((data as { readonly epoch: Epoch }).epoch, fenceTimeoutMs)
  }

  /** Operations under way end with ESHUTDOWN. */
  close(): Promise<void> {
    return this.objecter.close()
  }
}
