/** The client library: `const pool = client.pool('objects'); await pool.execute('name', [{kind: 'write-full', data}])`. */
import type { Env } from '@shoal/base'
import type { MessengerSecurity } from '@shoal/messenger'
import type { MonitorClient } from '@shoal/monitor-client'
import { Objecter } from './objecter.ts'
import { PoolHandle } from './pool-handle.ts'
import { Throttle } from './throttle.ts'

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

  /** Operations under way end with ESHUTDOWN. */
  close(): Promise<void> {
    return this.objecter.close()
  }
}
