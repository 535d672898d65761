/** One OSD on its directory. The store is made at the first start; its id comes from the daemon's name. */
import { osdId } from '@shoal/base'
import { runOsd } from '@shoal/osd'
import { bindHost, type DaemonContext, monitorAddresses, type RunningService } from './context.ts'
import { localLocation } from './location.ts'

export function runOsdDaemon({ env, layout, cluster, name }: DaemonContext): Promise<RunningService> {
  const id = Number(name.slice('osd.'.length))
  const capacityBytes = cluster.osds.find((osd) => osd.id === id)?.capacityBytes ?? 0
  return runOsd(env, {
    id: osdId(id),
    dataDirectory: layout.dataDirectory(name),
    bindHost: bindHost(cluster),
    sizeBytes: capacityBytes,
    crushLocation: localLocation(),
    monitors: monitorAddresses(cluster),
    setLogLevel: (level) => env.log.setLevel(level),
  })
}
