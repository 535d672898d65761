/**
 * The operations on one object and its clones that wait for their turn, and what is loaded for the one that is next.
 *
 * What is loaded is loaded for one operation: it is forgotten when that begins, or when a copy was replaced meanwhile.
 */
import { assert, errorTable } from '@shoal/base'
import { type ClientOp, type ObjectId, objectKey, type Version } from '@shoal/wire'
import type { PgBackend } from './backend.ts'
import { versionOfBadCopy } from './bad-copy.ts'
import type { PgCore } from './core.ts'
import type { LoadRequest, ObjectState } from './effects.ts'
import { objectAttributeName } from './object-attribute.ts'
import type { DoneRequest } from './request-table.ts'

export interface Waiting {
  readonly session: number
  readonly op: ClientOp
  readonly writes: boolean
  /** It was done in an earlier interval, and is answered when every member has what it did. */
  readonly done?: DoneRequest
  /** No client's: removed snapshots are taken from this clone. */
  readonly trim?: TrimRequest
}

export interface TrimRequest {
  readonly clone: ObjectId
  /** It is durable on every member, or there was nothing to take. */
  readonly onDone: () => void
  /** What it needs cannot be read here: nothing was taken from the clone. */
  readonly onFailed: (errno: number, detail: string) => void
}

export interface ObjectQueue {
  readonly object: ObjectId
  readonly waiting: Waiting[]
  /** Writes that are not committed everywhere. */
  inFlight: number
  reading: number
  loading: boolean
  /** Loaded for the write at the head, which needs more than the cached state. */
  loaded: ObjectState | undefined
  /** Loaded for it, too, by key: clones, and what stands for a removed object. */
  related: Map<string, ObjectState> | undefined
}

export function newQueue(object: ObjectId): ObjectQueue {
  return { object, waiting: [], inFlight: 0, reading: 0, loading: false, loaded: undefined, related: undefined }
}

export function forgetLoaded(queue: ObjectQueue): void {
  queue.loaded = undefined
  queue.related = undefined
}

export interface LoadEvents {
  /** Something was loaded: look at the queue again. */
  run(queue: ObjectQueue): void
  /** The next operation cannot be done. */
  onFailed(waiting: Waiting, errno: number, detail: string): void
  onBadCopy(object: ObjectId, version: Version): void
  /** Not even its version can be read here. */
  onUnreadable(): void
}

export class ObjectLoader {
  private readonly core: PgCore
  private readonly backend: PgBackend
  private readonly events: LoadEvents

  constructor(core: PgCore, backend: PgBackend, events: LoadEvents) {
    this.core = core
    this.backend = backend
    this.events = events
  }

  /** The object's state, from memory if that is enough; otherwise it is loaded and `run` is called again. */
  stateFor(queue: ObjectQueue, op: ClientOp): ObjectState | undefined {
    if (queue.loaded !== undefined) return queue.loaded
    const cached = this.backend.cache.get(queue.object)
    const request = this.backend.loadRequest(queue.object, op.ops, cached)
    if (cached !== undefined && request === undefined) {
      const { exists, sizeBytes, xattrs } = cached
      return { exists, sizeBytes, xattrs, omap: [], extents: [] }
    }
    assert(request !== undefined, 'what is not cached is loaded')
    this.beginLoad(queue, request, (state) => {
      queue.loaded = state
    })
    return undefined
  }

  /** Of what belongs to the object: from memory, or it is loaded and `run` is called again. */
  load(queue: ObjectQueue, object: ObjectId): ObjectState | undefined {
    const key = objectKey(object)
    const found = queue.related?.get(key)
    if (found !== undefined) return found
    this.beginLoad(queue, { object, omapKeys: [], extents: [] }, (state) => {
      queue.related ??= new Map()
      queue.related.set(key, state)
    })
    return undefined
  }

  private beginLoad(queue: ObjectQueue, request: LoadRequest, onLoaded: (state: ObjectState) => void): void {
    queue.loading = true
    const token = this.core.expectInInterval((input) => {
      queue.loading = false
      if (input.kind === 'loaded') {
        onLoaded(input.state)
        this.events.run(queue)
      } else if (input.kind === 'load-failed' && input.errno === errorTable.ECHECKSUM.errno) {
        this.reportBadCopy(queue, request.object)
      } else if (input.kind === 'load-failed') {
        const head = queue.waiting.shift()
        forgetLoaded(queue)
        if (head !== undefined) this.events.onFailed(head, input.errno, input.detail)
        this.events.run(queue)
      }
    })
    this.backend.load(request, token)
  }

  /** Finds out which version the bad copy should be, then has it replaced. */
  reportBadCopy(queue: ObjectQueue, object: ObjectId): void {
    queue.loading = true
    this.core.count('checksumErrors')
    const token = this.core.expectInInterval((input) => {
      queue.loading = false
      const attribute = input.kind === 'loaded' ? input.state.xattrs.get(objectAttributeName) : undefined
      const version = versionOfBadCopy(this.core.log, object, attribute)
      // It may have been mended for another read that found it, and removed, since it was looked at.
      if (version === 'deleted') return this.events.run(queue)
      // Of which version it should be only the other copies can tell: who waits for it does so until scrub has mended it.
      if (version === undefined) return this.events.onUnreadable()
      this.events.onBadCopy(object, version)
      this.events.run(queue)
    })
    this.core.emit({ kind: 'load', request: { object, omapKeys: [], extents: [] }, token })
  }
}
