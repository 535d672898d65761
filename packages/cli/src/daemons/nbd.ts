/** The NBD gateway: every image of every pool that says it is for block images. */
import { address } from '@shoal/base'
import { ClusterClient } from '@shoal/client'
import { ClusterImages, ImageExports, NbdServer } from '@shoal/gateway-nbd'
import { crashHandlers, followLogLevels, GrpcMonitorClient, logHandlers, serveAdmin } from '@shoal/monitor-client'
import { nbdLimits, socketAddress, tlsOffer } from '../nbd-options.ts'
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
  const connect = (): Promise<ClusterClient> => ClusterClient.connect(env, { monitor, security })
  /** For the configuration only: it is never fenced. */
  const client = await connect()
  followLogLevels(client.config, env.log)
  const { settings } = client.config
  const tls = await tlsOffer({
    mode: settings.nbd_tls,
    certificate: settings.nbd_tls_certificate,
    key: settings.nbd_tls_key,
    clientAuthority: settings.nbd_tls_client_authority,
  })
  const images = new ClusterImages({ env, connect, description: `${name} at ${cluster.nbdAddress}` })
  const exports = new ImageExports({
    pools: () =>
      [...(monitor.osdMap?.pools.values() ?? [])]
        .filter((pool) => pool.applications.includes('block'))
        .map((pool) => pool.name),
    readOnly: settings.nbd_read_only,
    source: images,
  })
  const server = new NbdServer(env, exports, {
    limits: () => nbdLimits(settings),
    ...(tls === undefined ? {} : { tls }),
  })
  const listening = await server.listen(address(cluster.nbdAddress))
  if (settings.nbd_socket !== '') await server.listen(socketAddress(settings.nbd_socket))
  client.config.started()
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
      await exports.close()
      await admin.close()
      await images.close()
      await client.close()
      await monitor.close()
    },
  }
}
