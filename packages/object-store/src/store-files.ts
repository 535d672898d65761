/** Makes and opens the directory of a store: lock, superblock, journal, data file, `meta/`. */
import { ClusterError, type Env, type FileHandle, isClusterError, type KeyValueStore } from '@shoal/base'
import { type Checksums, loadChecksums } from './checksum.ts'
import { blockBytes, fileNames, keys } from './layout.ts'
import { encodeState } from './meta-store.ts'
import { writeCallBytesMax } from './pending-data.ts'
import { seal } from './sealed-value.ts'
import { decodeSuperblock, encodeSuperblock, type Superblock } from './superblock.ts'

export interface CreateOptions {
  /** Capacity for object data; rounded down to whole 4 KiB units. */
  readonly sizeBytes: number
  readonly journalBytes?: number
  /** 16 bytes; drawn when left out. */
  readonly storeUuid?: Uint8Array
  /** 16 bytes; zeros when left out. */
  readonly clusterUuid?: Uint8Array
}

export const defaultJournalBytes: number = 128 * 1024 * 1024
const journalBytesMin = 256 * 1024
const dataBytesMin = 64 * 1024
/** The file of 2^32 units. */
const dataBytesMax = 2 ** 44

export interface OpenFiles {
  readonly superblock: Superblock
  readonly journal: FileHandle
  readonly data: FileHandle
  readonly level: KeyValueStore
  readonly checksums: Checksums
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
    for (const name of [fileNames.journal, fileNames.data, fileNames.meta])
      await env.disk.remove(`${directory}/${name}`)
    const journal = await env.disk.open(`${directory}/${fileNames.journal}`, 'create')
    await fillWithZeros(journal, 0, journalBytes)
    await journal.close()
    const data = await env.disk.open(`${directory}/${fileNames.data}`, 'create')
    await data.truncate(dataBytes)
    await data.datasync()
    await data.close()
    const level = await env.keyValue.open(`${directory}/${fileNames.meta}`)
    const state = { epoch: 1, tailOffset: 0, tailSequence: 1, clean: true, damaged: false }
    await level.batch([{ kind: 'put', ...seal(checksums, keys.state, encodeState(state)) }], { sync: true })
    await level.close()
    await env.disk.syncDirectory(directory)
    const superblock: Superblock = {
      storeUuid: options.storeUuid ?? env.random.bytes(16),
      clusterUuid: options.clusterUuid ?? new Uint8Array(16),
      nonce: env.random.uint53(),
      compatible: 0,
      incompatible: 0,
      dataBytes,
      journalBytes,
    }
    await env.disk.writeFileAtomic(`${directory}/${fileNames.superblock}`, encodeSuperblock(checksums, superblock))
  } finally {
    await lock.release()
  }
}

export async function openStoreFiles(env: Env, directory: string): Promise<OpenFiles> {
  const checksums = await loadChecksums()
  const path = `${directory}/${fileNames.superblock}`
  if (!(await env.disk.exists(path))) {
    throw new ClusterError('ENOENT', `${directory} holds no object store`, { hint: 'make the OSD first' })
  }
  const lock = await env.disk.lock(directory)
  const opened: { close(): Promise<void> }[] = []
  const close = async (): Promise<void> => {
    for (const resource of opened) await resource.close()
    await lock.release()
  }
  try {
    const superblock = decodeSuperblock(checksums, await env.disk.readFile(path))
    const open = async (name: string): Promise<FileHandle> => {
      const file = await env.disk.open(`${directory}/${name}`, 'create')
      opened.push(file)
      return file
    }
    const journal = await open(fileNames.journal)
    const data = await open(fileNames.data)
    if ((await data.sizeBytes()) < superblock.dataBytes) await data.truncate(superblock.dataBytes)
    const level = await env.keyValue.open(`${directory}/${fileNames.meta}`)
    opened.push(level)
    return { superblock, journal, data, level, checksums, close }
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
