/** A copy, or a shard, that fails its checksum: which version it should be. */
import { compareVersions, type ObjectId, type Version } from '@shoal/wire'
import { versionOf } from './object-attribute.ts'
import type { PgLog } from './pg-log.ts'

/**
 * The newer of what its attribute says and of what the log has: it may have been written to since it was looked at.
 * `deleted` when the log's last word is that it is gone, and undefined when neither knows.
 */
export function versionOfBadCopy(
  log: PgLog,
  object: ObjectId,
  attribute: Uint8Array | undefined,
): Version | 'deleted' | undefined {
  const latest = log.latestOf(object)
  if (latest?.kind === 'delete') return 'deleted'
  const stored = attribute === undefined ? undefined : versionOf(attribute)
  if (stored === undefined || latest === undefined) return stored ?? latest?.version
  return compareVersions(stored, latest.version) < 0 ? latest.version : stored
}
