/** Ours, as a user starts it: all daemons of one machine, an image, the NBD gateway. */
import { type DaemonRow, LocalCluster, shoalCommand } from '../support/local-cluster.ts'
import { imageName, poolName, type Rival, type Shape } from './rival.ts'

export async function startShoal(shape: Shape): Promise<Rival> {
  const cluster = LocalCluster.temporary()
  try {
    const command = [process.execPath, shoalCommand, 'up', '--osds', `${shape.osds}`, '--size', `${shape.size}`]
    await cluster.start(command, `${shape.osdGib}G`)
    await cluster.shoal('pool', 'create', poolName, `${shape.pgNum}`, '--application', 'block')
    await cluster.untilHealthy()
    await cluster.shoal('block', 'create', `${poolName}/${imageName}`, '--size', `${shape.imageGib}G`)
  } catch (error) {
    await cluster.remove()
    throw error
  }
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
    stop: () => cluster.remove(),
  }
}
