/**
 * Moves whole objects between members: the side that misses an object pulls it, piece by piece, in exactly one version.
 *
 * Durable before what: the last piece, the object's attribute and the removal from the missing set are one transaction. An
 * object of several pieces is gathered under a temporary name and renamed, so that a crash never leaves half of one.
 */
import { assert, errorTable, type OsdId } from '@shoal/base'
import { equalVersions, isClone, type ObjectId, objectKey, type TransactionOp, type Version } from '@shoal/wire'
import type { PgCore } from './core.ts'
import type { ObjectPiece } from './effects.ts'
import { stashNamespace } from './erasure/rollback-log.ts'
import { osdOf } from './member.ts'
import { objectAttributeName, versionOf } from './object-attribute.ts'
import type { PeerMessage } from './peer-message.ts'
import { removeMissing, removeTemporary, setSnapRecords, setTemporary } from './pg-store.ts'
import { snapsIn } from './snap-set.ts'

/** Where objects that arrive in pieces are gathered; as stashes of shards, never listed, never sent. */
const temporaryNamespace = '\u0000recovering'

export function isTemporary(object: ObjectId): boolean {
  return object.namespace === temporaryNamespace || object.namespace === stashNamespace
}

/** errno 0: the object is here, durably. */
type OnFetched = (errno: number, bytes: number) => void

export interface Fetch {
  readonly object: ObjectId
  readonly version: Version
  readonly from: OsdId
  readonly onFetched: OnFetched
  offset: number
  omapAfter: Uint8Array | undefined
  pieces: number
  bytes: number
  /** Who has yet to answer, and as which incarnation it was asked. */
  readonly asked: Map<OsdId, number | undefined>
}

const omapEntriesMax = 1024

export class ObjectTransfer {
  protected readonly core: PgCore
  private readonly fetches = new Map<string, Fetch>()
  /** Objects that lie, in part, under their temporary names. */
  private readonly temporaries: Map<string, ObjectId>

  constructor(core: PgCore, temporaries: readonly ObjectId[]) {
    this.core = core
    this.temporaries = new Map(temporaries.map((object) => [objectKey(object), object]))
  }

  reset(): void {
    this.fetches.clear()
  }

  /** What was being gathered when the last interval, or the last run, ended. */
  dropTemporaries(): readonly TransactionOp[] {
    return [...this.temporaries.values()].flatMap((object) => this.dropTemporary(object))
  }

  private dropTemporary(object: ObjectId): readonly TransactionOp[] {
    const collection = this.core.pgId
    this.temporaries.delete(objectKey(object))
    return [{ kind: 'remove', collection, object: temporaryName(object) }, removeTemporary(collection, object)]
  }

  fetch(object: ObjectId, version: Version, from: OsdId, onFetched: OnFetched): void {
    const begun = { offset: 0, omapAfter: undefined, pieces: 0, bytes: 0, asked: new Map() }
    const fetch: Fetch = { object, version, from, onFetched, ...begun }
    this.fetches.set(objectKey(object), fetch)
    this.pull(fetch)
  }

  protected find(object: ObjectId): Fetch | undefined {
    return this.fetches.get(objectKey(object))
  }

  /** Piece by piece, each when recovery has its turn at this disk; until it is stored it has it. */
  private pull(fetch: Fetch): void {
    const token = this.core.expectInInterval(() => {
      if (this.fetches.get(objectKey(fetch.object)) === fetch) this.ask(fetch)
      else this.spent(0)
    })
    this.core.emit({ kind: 'admit', work: 'recovery', token })
  }

  protected ask(fetch: Fetch): void {
    if (this.core.isUp(fetch.from)) this.askOf(fetch, fetch.from)
    else this.onNoAnswer(fetch, fetch.from)
  }

  protected askOf({ asked, object, version, offset, omapAfter }: Fetch, member: OsdId): void {
    asked.set(member, this.incarnationOf(member))
    this.core.send(member, { kind: 'pull', object, version, offset, omapAfter })
  }

  /** Undefined: it is not up. */
  private incarnationOf(member: OsdId): number | undefined {
    const info = this.core.map.osds.get(osdOf(member))
    return info?.up === true ? info.incarnation : undefined
  }

  /**
   * A map in the middle of an interval: who is not of the interval, and was asked, may have gone down, or be another run of
   * its OSD. It does not answer any more, and others are asked.
   */
  onMap(): void {
    for (const fetch of [...this.fetches.values()]) {
      for (const [member, incarnation] of [...fetch.asked]) {
        const now = this.incarnationOf(member)
        if (now === undefined || now !== incarnation) this.onNoAnswer(fetch, member)
      }
    }
  }

  private onNoAnswer({ object, version, offset }: Fetch, member: OsdId): void {
    const { errno } = errorTable.EAGAIN
    this.onPiece(member, { kind: 'piece', object, version, offset, errno, piece: undefined })
  }

  /** The source's side. */
  onPull(from: OsdId, message: Extract<PeerMessage, { kind: 'pull' }>): void {
    const { object, version, offset, omapAfter } = message
    const reply = (errno: number, piece: ObjectPiece | undefined): void =>
      this.core.send(from, { kind: 'piece', object, version, offset, errno, piece })
    if (this.core.missing.has(object)) return reply(errorTable.ENOENT.errno, undefined)
    const stored = this.storedAs(object, version)
    const token = this.core.expectInInterval((input) => {
      if (input.kind !== 'piece-read') return
      const { piece } = input
      if (piece === undefined) {
        if (stored === object) this.onPieceUnreadable(object, input.errno)
        return reply(input.errno, undefined)
      }
      const same = equalVersions(versionOf(piece.xattrs.get(objectAttributeName)), version)
      if (same) reply(0, piece)
      else reply(errorTable.EAGAIN.errno, undefined)
    })
    const lengthMax = this.pieceBytes
    this.core.emit({ kind: 'read-piece', object: stored, offset, lengthMax, omapAfter, omapEntriesMax, token })
  }

  /** The source's side: where this copy has the object in that version, if it has. */
  protected storedAs(object: ObjectId, _version: Version): ObjectId {
    return object
  }

  protected get pieceBytes(): number {
    return this.core.settings.pieceBytesMax
  }

  /** The source's side: the receiver learns it too. */
  protected onPieceUnreadable(_object: ObjectId, _errno: number): void {}

  onPiece(from: OsdId, message: Extract<PeerMessage, { kind: 'piece' }>): void {
    const key = objectKey(message.object)
    const fetch = this.fetches.get(key)
    if (
      fetch === undefined ||
      fetch.from !== from ||
      !equalVersions(fetch.version, message.version) ||
      fetch.offset !== message.offset
    )
      return
    fetch.asked.delete(from)
    const { piece } = message
    if (piece === undefined) {
      this.fetches.delete(key)
      this.spent(0)
      return fetch.onFetched(message.errno, 0)
    }
    if (!this.core.space.hasRoomFor(bytesOf(piece))) {
      this.fetches.delete(key)
      this.spent(0)
      if (fetch.pieces > 0) this.core.transact(this.dropTemporary(fetch.object))
      return fetch.onFetched(errorTable.ENOSPC.errno, 0)
    }
    const done = piece.dataDone && piece.omapDone
    const steps = this.pieceSteps(fetch, piece, done)
    fetch.pieces++
    fetch.offset = piece.nextOffset
    fetch.omapAfter = piece.omap.at(-1)?.key ?? fetch.omapAfter
    for (const extent of piece.extents) fetch.bytes += extent.data.length
    this.core.transact(steps, () => {
      this.spent(bytesOf(piece))
      if (this.fetches.get(key) !== fetch) return
      if (!done) return this.pull(fetch)
      this.fetches.delete(key)
      this.core.missing.delete(fetch.object)
      fetch.onFetched(0, fetch.bytes)
    })
  }

  private spent(bytes: number): void {
    this.core.emit({ kind: 'spent', work: 'recovery', bytes, admitted: true })
  }

  private pieceSteps(fetch: Fetch, piece: ObjectPiece, done: boolean): readonly TransactionOp[] {
    const collection = this.core.pgId
    const whole = done && fetch.pieces === 0
    const object = whole ? fetch.object : temporaryName(fetch.object)
    assert(
      fetch.pieces === 0 || this.temporaries.has(objectKey(fetch.object)),
      'the first piece lies where the next goes',
    )
    const steps: TransactionOp[] = []
    if (fetch.pieces === 0) {
      steps.push({ kind: 'remove', collection, object })
      steps.push({ kind: 'touch', collection, object })
      steps.push({ kind: 'set-xattrs', collection, object, xattrs: piece.xattrs })
      steps.push({ kind: 'truncate', collection, object, sizeBytes: piece.sizeBytes })
      if (piece.omapHeader.length > 0)
        steps.push({ kind: 'omap-set-header', collection, object, header: piece.omapHeader })
    }
    for (const { offset, data } of piece.extents) steps.push({ kind: 'write', collection, object, offset, data })
    if (piece.omap.length > 0) steps.push({ kind: 'omap-set', collection, object, entries: piece.omap })
    if (fetch.pieces === 0 && !whole) {
      this.temporaries.set(objectKey(fetch.object), fetch.object)
      steps.push(setTemporary(collection, fetch.object))
    }
    if (done && !whole) {
      this.temporaries.delete(objectKey(fetch.object))
      steps.push({ kind: 'rename', collection, object, to: fetch.object }, removeTemporary(collection, fetch.object))
    }
    // Before its last piece is here: what is listed for nothing does no harm.
    if (fetch.pieces === 0 && isClone(fetch.object))
      steps.push(setSnapRecords(collection, fetch.object, snapsIn(piece.xattrs)))
    if (done) steps.push(removeMissing(collection, [fetch.object]))
    return steps
  }
}

function bytesOf(piece: ObjectPiece): number {
  return piece.extents.reduce((sum, { data }) => sum + data.length, 0)
}

function temporaryName(object: ObjectId): ObjectId {
  return { ...object, namespace: temporaryNamespace, name: `${object.namespace}/${object.name}` }
}
