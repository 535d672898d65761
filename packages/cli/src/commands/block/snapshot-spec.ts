import { ClusterError } from '@shoal/base'
import { defaultBlockPool, parsePoolAndName } from '../pool-io.ts'

export interface SnapshotSpec {
  readonly pool: string
  readonly image: string
  readonly snapshot: string
  /** For people: all of it. */
  readonly spec: string
}

/** `POOL/IMAGE@SNAPSHOT`; without a pool that of block images. EINVAL where no snapshot is named. */
export function parseSnapshotSpec(text: string): SnapshotSpec {
  const { pool, name } = parsePoolAndName(text, defaultBlockPool)
  const [image = '', snapshot = ''] = name.split('@')
  if (snapshot === '') throw new ClusterError('EINVAL', `'${text}' names no snapshot`, { hint: 'POOL/IMAGE@SNAPSHOT' })
  return { pool, image, snapshot, spec: `${pool}/${image}@${snapshot}` }
}
