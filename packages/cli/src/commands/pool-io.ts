/** Names on the command line: `POOL/NAME`, and the handles they lead to. */
import { ClusterError } from '@shoal/base'
import type { ImageStore } from '@shoal/block'
import type { ClusterClient, PoolHandle } from '@shoal/client'
import type { Command } from 'commander'
import type { CommandContext } from '../context.ts'

export interface PoolAndName {
  readonly pool: string
  readonly name: string
}

/** `disk` alone means the default pool. */
export function parsePoolAndName(text: string, defaultPool: string): PoolAndName {
  const slash = text.indexOf('/')
  const parsed =
    slash < 0 ? { pool: defaultPool, name: text } : { pool: text.slice(0, slash), name: text.slice(slash + 1) }
  if (parsed.pool === '' || parsed.name === '') {
    throw new ClusterError('EINVAL', `not a name: '${text}'`, { hint: 'POOL/NAME' })
  }
  return parsed
}

export const defaultBlockPool = 'block'
const defaultObjectPool = 'objects'

/** Where a command's objects are. */
export function addPoolOptions(command: Command): void {
  command.option('-p, --pool <pool>', 'pool', defaultObjectPool).option('-N, --namespace <name>', 'namespace', '')
}

export function poolHandle(client: ClusterClient, options: Readonly<Record<string, unknown>>): PoolHandle {
  return client.pool(String(options['pool']), String(options['namespace']))
}

export async function imageStore(context: CommandContext, pool: string): Promise<ImageStore> {
  const [client, { channelQuiescer, ImageStore }, env] = await Promise.all([
    context.client(),
    import('@shoal/block'),
    context.env(),
  ])
  const io = client.pool(pool)
  return new ImageStore(env, io, channelQuiescer(env, io, client))
}
