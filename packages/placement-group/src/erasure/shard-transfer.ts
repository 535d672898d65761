/**
 * Makes the shard that this member misses: the same piece of k other shards is pulled, the own one is computed from them,
 * and stored as if one member had sent it (object-transfer.ts). Where another member has this very shard, it is copied.
 */
import { errorTable, type OsdId } from '@shoal/base'
import type { ErasureCode } from '@shoal/erasure'
import { equalVersions, type ObjectId, objectKey, type Version } from '@shoal/wire'
import type { OnFetched } from '../backend.ts'
import type { PgCore } from '../core.ts'
import type { ObjectPiece } from '../effects.ts'
import { shardOf } from '../member.ts'
import { type Fetch, ObjectTransfer } from '../object-transfer.ts'
import type { PeerMessage } from '../peer-message.ts'

type PieceMessage = Extract<PeerMessage, { kind: 'piece' }>

interface Rebuild {
  readonly sources: readonly OsdId[]
  readonly failed: Set<OsdId>
  /** Whom the piece under way was asked of, and what they gave. */
  asked: ReadonlySet<OsdId>
  readonly pieces: Map<OsdId, ObjectPiece>
}

const alignment = 4096

export class ShardTransfer extends ObjectTransfer {
  private readonly code: () => ErasureCode
  private readonly onUnreadable: (object: ObjectId) => void
  private readonly rebuilds = new Map<string, Rebuild>()

  constructor(
    core: PgCore,
    temporaries: readonly ObjectId[],
    code: () => ErasureCode,
    /** The own shard of an object that somebody pulled fails its checksum. */
    onUnreadable: (object: ObjectId) => void,
  ) {
    super(core, temporaries)
    this.code = code
    this.onUnreadable = onUnreadable
  }

  override reset(): void {
    super.reset()
    this.rebuilds.clear()
  }

  rebuild(object: ObjectId, version: Version, sources: readonly OsdId[], onFetched: OnFetched): void {
    const key = objectKey(object)
    const rebuild: Rebuild = { sources, failed: new Set(), asked: new Set(), pieces: new Map() }
    this.rebuilds.set(key, rebuild)
    this.fetch(object, version, this.core.whoami, (errno, bytes) => {
      this.rebuilds.delete(key)
      onFetched(errno, bytes, [...rebuild.failed])
    })
  }

  canRebuild(sources: readonly OsdId[]): boolean {
    return this.choose(sources) !== undefined
  }

  /** Who has this very shard, else the k lowest shards. */
  private choose(sources: readonly OsdId[]): readonly OsdId[] | undefined {
    const byShard = new Map<number, OsdId>()
    for (const member of sources) if (!byShard.has(shardOf(member))) byShard.set(shardOf(member), member)
    const own = byShard.get(this.core.shard as number)
    if (own !== undefined) return [own]
    const code = this.code()
    if (byShard.size < code.k) return undefined
    return [...byShard.keys()]
      .sort((a, b) => a - b)
      .slice(0, code.k)
      .map((shard) => byShard.get(shard) as OsdId)
  }

  protected override get pieceBytes(): number {
    const share = Math.floor(super.pieceBytes / this.code().k)
    return Math.max(1, share > alignment ? share - (share % alignment) : share)
  }

  /**
   * Members of the interval have undone the writes that lost; a stray, whom nobody tells, gives what it keeps to undo them.
   * Counter-example: all of a group moves to other OSDs while a write is on some shards; the old content, which is the
   * acknowledged one, is under its own name on fewer than k of the strays, and nowhere else.
   */
  protected override storedAs(object: ObjectId, version: Version): ObjectId {
    const { rollback, log, mapping, whoami } = this.core
    const isMember = mapping.acting.includes(whoami) || mapping.up.includes(whoami)
    return (isMember ? undefined : rollback?.keptAs(object, version, log.all())) ?? object
  }

  protected override onPieceUnreadable(object: ObjectId, errno: number): void {
    if (errno === errorTable.ECHECKSUM.errno) this.onUnreadable(object)
  }

  protected override ask(fetch: Fetch): void {
    const rebuild = this.rebuilds.get(objectKey(fetch.object))
    if (rebuild === undefined) return
    const { core } = this
    const chosen = this.choose(rebuild.sources.filter((member) => !rebuild.failed.has(member) && core.isUp(member)))
    if (chosen === undefined) return this.give(fetch, errorTable.EAGAIN.errno, undefined)
    rebuild.asked = new Set(chosen)
    rebuild.pieces.clear()
    fetch.asked.clear()
    for (const member of chosen) this.askOf(fetch, member)
  }

  override onPiece(from: OsdId, message: PieceMessage): void {
    const key = objectKey(message.object)
    const rebuild = this.rebuilds.get(key)
    const fetch = this.find(message.object)
    if (rebuild === undefined || fetch === undefined || !rebuild.asked.has(from) || rebuild.failed.has(from)) return
    if (!equalVersions(fetch.version, message.version) || fetch.offset !== message.offset) return
    fetch.asked.delete(from)
    if (message.piece === undefined) {
      rebuild.failed.add(from)
      return this.ask(fetch)
    }
    rebuild.pieces.set(from, message.piece)
    if (rebuild.pieces.size < rebuild.asked.size) return
    this.give(fetch, 0, this.combine(fetch, rebuild))
  }

  private give(fetch: Fetch, errno: number, piece: ObjectPiece | undefined): void {
    const { object, version, offset } = fetch
    super.onPiece(this.core.whoami, { kind: 'piece', object, version, offset, errno, piece })
  }

  private combine({ offset }: Fetch, { pieces }: Rebuild): ObjectPiece {
    const [first] = [...pieces.values()] as [ObjectPiece]
    if (pieces.size === 1) return first
    // Members may be set to pieces of different lengths.
    const end = Math.min(...[...pieces.values()].map((piece) => piece.nextOffset))
    const chunks = new Map<number, Uint8Array>()
    for (const [member, piece] of pieces) chunks.set(shardOf(member), flat(piece, offset, end))
    const shard = this.core.shard as number
    const data = this.code().decode(chunks, [shard]).get(shard) as Uint8Array
    const extents = data.length > 0 ? [{ offset, data }] : []
    return { ...first, extents, nextOffset: end, dataDone: end >= first.sizeBytes, omap: [], omapDone: true }
  }
}

function flat({ extents }: ObjectPiece, from: number, to: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(0, to - from))
  for (const { offset, data } of extents) {
    if (offset < to) bytes.set(data.subarray(0, to - offset), offset - from)
  }
  return bytes
}
