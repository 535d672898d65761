/** The other cluster of a pool whose images are mirrored: kept by our monitors, key included. */
import { address, ClusterError, isClusterError, parseAddress } from '@shoal/base'
import type { MirrorPool } from '@shoal/block'
import type { ClusterClient } from '@shoal/client'
import { z } from 'zod'
import type { CommandContext } from '../../context.ts'

export interface MirrorPeer {
  readonly name: string
  readonly monitors: readonly string[]
  /** What is in its keyring. */
  readonly keyring?: string | undefined
}

const peerSchema: z.ZodType<MirrorPeer> = z.object({
  name: z.string().min(1),
  monitors: z.array(z.string()).min(1),
  keyring: z.string().optional(),
})

const peerKey = (pool: string): string => `mirror/peer/${pool}`

export async function readPeer(context: CommandContext, pool: string): Promise<MirrorPeer | undefined> {
  try {
    const { data } = await context.command({ prefix: 'config-key get', key: peerKey(pool) })
    return peerSchema.parse(JSON.parse((data as { readonly value: string }).value))
  } catch (error) {
    if (isClusterError(error, 'ENOENT')) return undefined
    throw error
  }
}

export async function writePeer(context: CommandContext, pool: string, peer: MirrorPeer): Promise<void> {
  for (const monitor of peer.monitors) {
    if (parseAddress(monitor) === undefined) {
      throw new ClusterError('EINVAL', `not a monitor address: ${monitor}`, { hint: 'HOST:PORT,HOST:PORT' })
    }
  }
  await context.command({ prefix: 'config-key set', key: peerKey(pool), val: JSON.stringify(peer) })
}

export async function removePeer(context: CommandContext, pool: string): Promise<void> {
  await context.command({ prefix: 'config-key rm', key: peerKey(pool) })
}

/** A pool here or there, as whoever mirrors sees it. */
export async function mirrorPoolOf(context: CommandContext, client: ClusterClient, pool: string): Promise<MirrorPool> {
  const [{ channelQuiescer, MirrorPool }, env] = await Promise.all([import('@shoal/block'), context.env()])
  const io = client.pool(pool)
  return new MirrorPool(env, io, channelQuiescer(env, io, client), client)
}

/** Connections to the other cluster; `close` ends them. */
export interface PeerConnection {
  readonly pool: MirrorPool
  close(): Promise<void>
}

/** ENOENT without a peer; otherwise what a client says that cannot reach its cluster. */
export async function connectPeer(context: CommandContext, pool: string): Promise<PeerConnection> {
  const peer = await readPeer(context, pool)
  if (peer === undefined) {
    throw new ClusterError('ENOENT', `pool ${pool} has no peer`, { hint: 'shoal block mirror peer add' })
  }
  const [{ ClusterClient }, { GrpcMonitorClient }, { parseKeyring, securityFrom }, env] = await Promise.all([
    import('@shoal/client'),
    import('@shoal/monitor-client'),
    import('@shoal/messenger'),
    context.env(),
  ])
  const monitors = peer.monitors.map((monitor) => address(monitor))
  const monitor = new GrpcMonitorClient(env, { monitors, startTimeoutMs: context.timeoutMs })
  try {
    await monitor.start()
    const security = securityFrom({}, peer.keyring === undefined ? undefined : parseKeyring(peer.keyring))
    const client = await ClusterClient.connect(env, { monitor, security })
    return {
      pool: await mirrorPoolOf(context, client, pool),
      async close() {
        await client.close()
        await monitor.close()
      },
    }
  } catch (error) {
    await monitor.close()
    throw error
  }
}
