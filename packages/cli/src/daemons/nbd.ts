/** The NBD gateway: every image of every pool that says it is for block images. */
import { address } from '@shoal/base'
import { ImageStore } from '@shoal/block'
import { ClusterClient } from '@shoal/client'
import { ImageExports, NbdServer } from '@shoal/gateway-nbd'
import { crashHandlers, followLogLevels, GrpcMonitorClient, logHandlers, serveAdmin } from '@shoal/monitor-client'
import { bindHost, type DaemonContext, daemonSecurity, monitorAddresses, type RunningService } from './context.ts'
import { localLocation } from './location.ts'

/** The cluster may come up after us: the gateway waits this long for its first map before the supervisor tries again. */
const startTimeoutMs = 120_000

export async function runNbdGateway(context: DaemonContext): Promise<RunningService> {
  const { env, cluster, name } = context
  const security = daemonSecurity(context)
  const monitor = new GrpcMonitorClient(env, {
    monitors: monitorAddresses(cluster),
    entity: `client.${name}`,
    host: localLocation()['host'] ?? '',
    startTimeoutMs,
  })
  await monitor.start()
  const client = await ClusterClient.connect(env, { monitor, security })
  followLogLevels(client.config, env.log)
  const server = new NbdServer(
    env,
    new ImageExports({
      pools: () =>
        [...(monitor.osdMap?.pools.values() ?? [])]
          .filter((pool) => pool.applications.includes('block'))
          .map((pool) => pool.name),
      store: async (pool) => new ImageStore(env, client.pool(pool)),
    }),
  )
  const listening = await server.listen(address(cluster.nbdAddress))
  const admin = await serveAdmin(env, address(`${bindHost(cluster)}:0`), {
    perf: () => server.counters.summary(),
    'config show': () => client.config.show(),
    ...logHandlers(env.log),
    ...crashHandlers(env, client.config.settings),
    ops: () => ({ inFlight: server.requestsInFlight() }),
  })
  return {
    address: listening,
    adminAddress: admin.address,
    async stop() {
      await server.close()
      await admin.close()
      await client.close()
      await monitor.close()
    },
  }
}
