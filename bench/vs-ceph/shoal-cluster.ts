/** Ours, as a user starts it: all daemons of one machine, an image, the NBD gateway. */
import { type DaemonRow, LocalCluster, shoalCommand } from '../support/local-cluster.ts'
import { imageName, poolName, type Rival, type Shape } from './rival.ts'

/** `ending` gets what ends it, before anything of it runs. */
export async function startShoal(shape: Shape, ending: (() => Promise<void>)[]): Promise<Rival> {
  const cluster = LocalCluster.temporary()
  ending.push(() => cluster.remove())
  const command = [process.execPath, shoalCommand, 'up', '--osds', `${shape.osds}`, '--size', `${shape.size}`]
  await cluster.start(command, `${shape.osdGib}G`)
  await cluster.shoal('pool', 'create', poolName, `${shape.pgNum}`, '--application', 'block')
  await cluster.untilHealthy()
  await cluster.shoal('block', 'create', `${poolName}/${imageName}`, '--size', `${shape.imageMib}M`)
  const daemons = await cluster.daemons()
  const gateway = daemons.find(({ kind }) => kind === 'nbd') as DaemonRow
  return {
    name: 'shoal',
    engine: ['--ioengine=nbd', `--uri=nbd://${gateway.address}/${poolName}/${imageName}`],
    env: {},
    pids: async () => {
      const rows = await cluster.daemons()
      const pids = (which: readonly DaemonRow[]): readonly number[] => which.map(({ pid }) => pid)
      return { all: pids(rows), osds: pids(rows.filter(({ kind }) => kind === 'osd')) }
    },
  }
}
