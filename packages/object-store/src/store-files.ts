/** Makes and opens the directory of a store: lock, superblock, journal, data file, `meta/`. */
import { ClusterError, type Env, type FileHandle, isClusterError, type KeyValueStore } from '@shoal/base'
import { type Checksums, loadChecksums } from './checksum.ts'
import { EncryptedFile } from './encrypted-file.ts'
import { blockBytes, fileNames, keys as recordKeys } from './layout.ts'
import { encodeState } from './meta-store.ts'
import { PageTree } from './page-tree.ts'
import { writeCallBytesMax } from './pending-data.ts'
import { JournalCipher, PageCipher } from './record-cipher.ts'
import { seal } from './sealed-value.ts'
import { deriveKeys, makeDataKey, type StoreKeys, unwrapDataKey, wrapDataKey } from './store-keys.ts'
import { decodeSuperblock, encodeSuperblock, encryptedFeature, type Superblock } from './superblock.ts'

export interface CreateOptions {
  /** Capacity for object data; rounded down to whole 4 KiB units. */
  readonly sizeBytes: number
  readonly journalBytes?: number
  /** 16 bytes; drawn when left out. */
  readonly storeUuid?: Uint8Array
  /** 16 bytes; zeros when left out. */
  readonly clusterUuid?: Uint8Array
  /** 32 bytes: the store is encrypted, and mounts with this key only. */
  readonly storeKey?: Uint8Array | undefined
}

export const defaultJournalBytes: number = 128 * 1024 * 1024
const { state: stateKey } = recordKeys
const journalBytesMin = 256 * 1024
const dataBytesMin = 64 * 1024
/** The file of 2^32 units. */
const dataBytesMax = 2 ** 44

export interface OpenFiles {
  readonly superblock: Superblock
  readonly journal: FileHandle
  readonly data: FileHandle
  readonly level: KeyValueStore
  /** Of an encrypted store: `level` again, as the sealed pages that it consists of. */
  readonly pages: PageTree | undefined
  readonly checksums: Checksums
  /** Of an encrypted store: `data` and `level` are already what they would be without. */
  readonly journalCipher: JournalCipher | undefined
  /** Closes everything and gives up the lock. */
  readonly close: () => Promise<void>
}

export async function createStoreFiles(env: Env, directory: string, options: CreateOptions): Promise<void> {
  const journalBytes = options.journalBytes ?? defaultJournalBytes
  const dataBytes = Math.floor(options.sizeBytes / blockBytes) * blockBytes
  if (!(dataBytes >= dataBytesMin && dataBytes <= dataBytesMax)) {
    throw new ClusterError('EINVAL', `a store has ${dataBytesMin} to ${dataBytesMax} bytes, not ${options.sizeBytes}`)
  }
  if (!(journalBytes >= journalBytesMin) || journalBytes % blockBytes !== 0) {
    throw new ClusterError('EINVAL', `a journal has at least ${journalBytesMin} bytes, in whole 4 KiB blocks`)
  }
  const checksums = await loadChecksums()
  await env.disk.makeDirectory(directory)
  const lock = await env.disk.lock(directory)
  try {
    if (await env.disk.exists(`${directory}/${fileNames.superblock}`)) {
      throw new ClusterError('EEXIST', `${directory} holds a store already`, {
        hint: 'remove the directory first if its data is no longer wanted',
      })
    }
    // What an interrupted creation left behind means nothing without a superblock.
    for (const name of [fileNames.journal, fileNames.data, fileNames.meta, fileNames.key])
      await env.disk.remove(`${directory}/${name}`)
    const journal = await env.disk.open(`${directory}/${fileNames.journal}`, 'create')
    await fillWithZeros(journal, 0, journalBytes)
    await journal.close()
    const data = await env.disk.open(`${directory}/${fileNames.data}`, 'create')
    await data.truncate(dataBytes)
    await data.datasync()
    await data.close()
    const storeUuid = options.storeUuid ?? env.random.bytes(16)
    const keys = await makeKeys(env, directory, storeUuid, options.storeKey)
    const level = await openLevel(env, directory, keys)
    const state = { epoch: 1, tailOffset: 0, tailSequence: 1, clean: true, damaged: false }
    await level.batch([{ kind: 'put', ...seal(checksums, stateKey, encodeState(state)) }], { sync: true })
    await level.close()
    await env.disk.syncDirectory(directory)
    const superblock: Superblock = {
      storeUuid,
      clusterUuid: options.clusterUuid ?? new Uint8Array(16),
      nonce: env.random.uint53(),
      compatible: 0,
      incompatible: keys === undefined ? 0 : encryptedFeature,
      dataBytes,
      journalBytes,
    }
    await env.disk.writeFileAtomic(`${directory}/${fileNames.superblock}`, encodeSuperblock(checksums, superblock))
  } finally {
    await lock.release()
  }
}

/** The uuid and whether it is encrypted, without opening anything. ENOENT, EIO or EPROTO as a mount. */
export async function inspectStore(
  env: Pick<Env, 'disk'>,
  directory: string,
): Promise<{ readonly storeUuid: Uint8Array; readonly encrypted: boolean }> {
  const { storeUuid, incompatible } = await readSuperblock(env, directory, await loadChecksums())
  return { storeUuid, encrypted: (incompatible & encryptedFeature) !== 0 }
}

async function readSuperblock(env: Pick<Env, 'disk'>, directory: string, checksums: Checksums): Promise<Superblock> {
  const path = `${directory}/${fileNames.superblock}`
  if (!(await env.disk.exists(path))) {
    throw new ClusterError('ENOENT', `${directory} holds no object store`, { hint: 'make the OSD first' })
  }
  return decodeSuperblock(checksums, await env.disk.readFile(path))
}

async function makeKeys(
  env: Env,
  directory: string,
  storeUuid: Uint8Array,
  storeKey: Uint8Array | undefined,
): Promise<StoreKeys | undefined> {
  if (storeKey === undefined) return undefined
  const dataKey = makeDataKey(env.random)
  const wrapped = wrapDataKey(env.random, storeKey, storeUuid, dataKey)
  await env.disk.writeFileAtomic(`${directory}/${fileNames.key}`, wrapped)
  return deriveKeys(dataKey, storeUuid)
}

/** Throws EACCES when the key is missing or wrong: before anything is opened for writing. */
async function openKeys(
  env: Env,
  directory: string,
  { storeUuid, incompatible }: Superblock,
  storeKey: Uint8Array | undefined,
): Promise<StoreKeys | undefined> {
  if ((incompatible & encryptedFeature) === 0) return undefined
  if (storeKey === undefined) {
    throw new ClusterError('EACCES', `the store in ${directory} is encrypted, and there is no key for it`, {
      hint: 'the monitors keep it; if they lost it: shoal osd key restore FILE',
    })
  }
  const path = `${directory}/${fileNames.key}`
  if (!(await env.disk.exists(path))) {
    throw new ClusterError('EIO', `${path} is missing`, {
      hint: 'without it nothing in the store can be read: remove the OSD and let it be rebuilt',
    })
  }
  return deriveKeys(unwrapDataKey(storeKey, storeUuid, await env.disk.readFile(path)), storeUuid)
}

async function openLevel(env: Env, directory: string, keys: StoreKeys | undefined): Promise<KeyValueStore> {
  const level = await env.keyValue.open(`${directory}/${fileNames.meta}`)
  if (keys === undefined) return level
  try {
    return await PageTree.open(level, new PageCipher(keys.meta, env.random))
  } catch (error) {
    await level.close()
    throw error
  }
}

export async function openStoreFiles(env: Env, directory: string, storeKey?: Uint8Array): Promise<OpenFiles> {
  const checksums = await loadChecksums()
  const superblock = await readSuperblock(env, directory, checksums)
  const keys = await openKeys(env, directory, superblock, storeKey)
  const lock = await env.disk.lock(directory)
  const opened: { close(): Promise<void> }[] = []
  const close = async (): Promise<void> => {
    for (const resource of opened) await resource.close()
    await lock.release()
  }
  try {
    const open = async (name: string): Promise<FileHandle> => {
      const file = await env.disk.open(`${directory}/${name}`, 'create')
      opened.push(file)
      return file
    }
    const journal = await open(fileNames.journal)
    const file = await open(fileNames.data)
    if ((await file.sizeBytes()) < superblock.dataBytes) await file.truncate(superblock.dataBytes)
    const level = await openLevel(env, directory, keys)
    opened.push(level)
    const data = keys === undefined ? file : new EncryptedFile(file, keys.data)
    const journalCipher = keys === undefined ? undefined : new JournalCipher(keys.journal)
    const pages = level instanceof PageTree ? level : undefined
    return { superblock, journal, data, level, pages, checksums, journalCipher, close }
  } catch (error) {
    await close()
    if (isClusterError(error)) throw error
    throw new ClusterError('EIO', `cannot open the object store in ${directory}`, { cause: error })
  }
}

/** Makes [from, to) of the file allocated zeros, so that journal writes never change the file's size. */
export async function fillWithZeros(file: FileHandle, from: number, to: number): Promise<void> {
  const zeros = new Uint8Array(writeCallBytesMax)
  for (let at = from; at < to; at += writeCallBytesMax) {
    await file.write([zeros.subarray(0, Math.min(writeCallBytesMax, to - at))], at)
  }
  await file.datasync()
}
