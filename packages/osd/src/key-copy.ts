/**
 * The cluster's key, beside the maps in the OSD's own collection: when the keyring is lost together with the monitors, the
 * OSDs give back both (docs/mechanisms/monitor-rebuild.md). Whoever holds an OSD's directory holds its objects, too, so
 * the copy opens nothing more than the other directories of the same cluster.
 */
import { equalBytes, utf8Encode } from '@shoal/base'
import type { ObjectStore } from '@shoal/object-store'
import { metaCollection, ownRecord } from './superblock.ts'

const keyCopyKey = utf8Encode('keyring')

/** Writes it when it is not there yet, another one, or damaged. */
export async function keepKeyCopy(store: ObjectStore, secret: Uint8Array): Promise<void> {
  const stored = await ownRecord(store, keyCopyKey)
  if (stored !== undefined && stored !== 'damaged' && equalBytes(stored, secret)) return
  await store.submit({
    ops: [{ kind: 'meta-set', collection: metaCollection, entries: [{ key: keyCopyKey, value: secret }] }],
  })
}

/** Undefined for an OSD that never ran with a key. `damaged`: other OSDs have a copy, too. */
export function readKeyCopy(store: ObjectStore): Promise<Uint8Array | 'damaged' | undefined> {
  return ownRecord(store, keyCopyKey)
}
