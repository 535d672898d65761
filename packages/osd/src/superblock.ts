/**
 * The identity of an OSD's directory: file `superblock`, beside the store in `store/`.
 *
 * What must be durable before what: the superblock with the uuid, in state `preparing` -> the empty store with the same
 * uuid inside -> the id registered with the monitors -> the superblock in state `ready`. Each step may be repeated after
 * a crash, so a directory is never half an OSD.
 *
 * Invariant 1: a `ready` superblock never stands beside a store without its uuid: such a store has lost what this OSD
 *              promised to keep, and it must not boot under the old identity.
 */
import {
  ClusterError,
  type Codec,
  type Disk,
  decode,
  type Env,
  encode,
  hexEncode,
  isClusterError,
  type OsdId,
  oneOf,
  type PgId,
  string,
  struct,
  u32,
  utf8Encode,
  versioned,
} from '@shoal/base'
import type { ObjectStore } from '@shoal/object-store'
import type { TransactionOp } from '@shoal/wire'

export interface Superblock {
  readonly whoami: OsdId
  /** Identity of the store. */
  readonly uuid: string
  /** Of the cluster; empty until the first monitor map. */
  readonly fsid: string
  readonly state: 'preparing' | 'ready'
}

const fields = struct<Superblock>({
  whoami: u32<OsdId>(),
  uuid: string(),
  fsid: string(),
  state: oneOf(['preparing', 'ready']),
})

const superblockCodec: Codec<Superblock> = versioned<Superblock>(1, 1, 'OSD superblock', fields)

/** The collection of the OSD itself: its store's uuid and the maps it keeps. */
export const metaCollection: PgId = 'meta' as PgId

const uuidKey = utf8Encode('uuid')

function superblockPath(directory: string): string {
  return `${directory}/superblock`
}

export function storeDirectory(directory: string): string {
  return `${directory}/store`
}

/** Undefined when the directory was never made an OSD. EBADMSG when the file is damaged. */
export async function readSuperblock(disk: Disk, directory: string): Promise<Superblock | undefined> {
  if (!(await disk.exists(superblockPath(directory)))) return undefined
  return decode(superblockCodec, await disk.readFile(superblockPath(directory)))
}

/** Of the OSD in this directory. Throws ENOENT. */
export async function readOsdUuid(env: Pick<Env, 'disk'>, directory: string): Promise<string> {
  const superblock = await readSuperblock(env.disk, directory)
  if (superblock !== undefined) return superblock.uuid
  throw new ClusterError('ENOENT', `${directory} holds no OSD`, { hint: 'shoal daemon ls' })
}

export function writeSuperblock(disk: Disk, directory: string, superblock: Superblock): Promise<void> {
  return disk.writeFileAtomic(superblockPath(directory), encode(superblockCodec, superblock))
}

/** A random (version 4) UUID. */
export function makeUuid(random: Env['random']): string {
  const bytes = random.bytes(16)
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80
  const hex = hexEncode(bytes)
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** Gives a new store its meta collection and uuid, durably; checks them in an old one. */
export async function claimStore(store: ObjectStore, superblock: Superblock): Promise<void> {
  const stored = store.hasCollection(metaCollection) ? await ownRecord(store, uuidKey) : undefined
  if (stored === 'damaged') return store.submit({ ops: [setUuid(superblock.uuid)] })
  const expected = utf8Encode(superblock.uuid)
  if (stored !== undefined) {
    if (hexEncode(stored) === hexEncode(expected)) return
    throw new ClusterError('EIO', `the store under osd.${superblock.whoami} belongs to another OSD`, {
      hint: 'put the right store/ directory back beside its superblock',
    })
  }
  if (superblock.state === 'ready') {
    throw new ClusterError('EIO', `the store of osd.${superblock.whoami} has lost its contents`, {
      hint: `bring store/ back, or remove the directory and run \`shoal osd destroy ${superblock.whoami} --yes-i-really-mean-it\``,
    })
  }
  await store.submit({
    ops: [
      ...(store.hasCollection(metaCollection)
        ? []
        : [{ kind: 'create-collection' as const, collection: metaCollection }]),
      setUuid(superblock.uuid),
    ],
  })
}

export function setUuid(uuid: string): TransactionOp {
  return { kind: 'meta-set', collection: metaCollection, entries: [{ key: uuidKey, value: utf8Encode(uuid) }] }
}

/** A record of the OSD itself. `damaged`: there is one, and it fails its checksum; who knows it writes it again. */
export async function ownRecord(store: ObjectStore, key: Uint8Array): Promise<Uint8Array | 'damaged' | undefined> {
  try {
    return await store.metaGet(metaCollection, key)
  } catch (error) {
    if (isClusterError(error, 'ECHECKSUM')) return 'damaged'
    throw error
  }
}
