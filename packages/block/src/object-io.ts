/** What images need of a pool: one compound operation on one object. The client library's pool handle is one. */
import { type ClusterError, type Epoch, isClusterError } from '@shoal/base'
import type { NotifyOutcome, ObjectOp, ObjectOpResult, SnapContext } from '@shoal/wire'

export interface ObjectIoOptions {
  /** Reads are done as of this snapshot. */
  readonly snap?: number | undefined
  /** For which snapshots a write counts. */
  readonly snapContext?: SnapContext | undefined
}

export interface ObjectIo {
  /** Rejects with the code of the step that failed; nothing was applied then. */
  execute(
    objectName: string,
    ops: readonly ObjectOp[],
    options?: ObjectIoOptions,
  ): Promise<{ readonly results: readonly ObjectOpResult[] }>
  /** Of whoever mirrors images: copies can be changed. */
  readonly mirrors?: boolean
  /** Rejects with ENOENT when the pool itself is gone. */
  poolId?(): Promise<unknown>
  /** The same cluster's pool with this id, which may be of another kind: where an image keeps its data, if not here. */
  inPool?(poolId: number): ObjectIo
  /** A new id, above all before it. EINVAL for a pool whose snapshots people name. */
  createSelfManagedSnapshot?(): Promise<number>
  /** What only this snapshot needed goes by and by. Can be done again. */
  removeSelfManagedSnapshot?(snap: number): Promise<void>
}

/** Undefined: ENOENT. */
export async function ifThere<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (isClusterError(error, 'ENOENT')) return undefined
    throw error
  }
}

export interface HeaderWatch {
  close(): Promise<void>
}

/** A pool whose objects can be watched: at the header of an image its users meet. The pool handle is one, too. */
export interface ChannelIo extends ObjectIo {
  watch(
    objectName: string,
    handlers: {
      readonly onNotify: (notification: {
        readonly notifier: number
        readonly data: Uint8Array
      }) => Promise<Uint8Array | undefined> | Uint8Array | undefined
      readonly onError: (error: ClusterError) => void
    },
    options: { readonly timeoutMs: number },
  ): Promise<HeaderWatch>
  notify(objectName: string, data: Uint8Array, timeoutMs: number): Promise<NotifyOutcome>
}

/** What a lock needs of the cluster's client. */
export interface Fencer {
  /** Names this client in locks and fences. */
  readonly session: number
  /**
   * Fences another session; resolves with the epoch of the fence once our own operations name it: nothing that the other sends, or has
   * sent, takes effect on an object after our next operation on it.
   */
  fence(session: number, seconds: number): Promise<Epoch>
  /** Resolves once our operations name this epoch, or a later one. */
  waitForMap(epoch: Epoch): Promise<void>
}
