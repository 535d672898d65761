/** One OSD on its directory. The store is made at the first start; its id comes from the daemon's name. */
import { osdId } from '@shoal/base'
import { runOsd } from '@shoal/osd'
import { bindHost, type DaemonContext, daemonSecurity, monitorAddresses, type RunningService } from './context.ts'
import { localLocation } from './location.ts'

export async function runOsdDaemon(context: DaemonContext): Promise<RunningService> {
  const { env, layout, cluster, name } = context
  const id = Number(name.slice('osd.'.length))
  const osd = cluster.osds.find((one) => one.id === id)
  return runOsd(env, {
    id: osdId(id),
    dataDirectory: layout.dataDirectory(name),
    bindHost: bindHost(cluster),
    sizeBytes: osd?.capacityBytes ?? 0,
    encrypt: osd?.encrypt,
    crushLocation: { ...localLocation(), ...osd?.location },
    monitors: monitorAddresses(cluster),
    security: daemonSecurity(context),
    log: env.log,
  })
}
