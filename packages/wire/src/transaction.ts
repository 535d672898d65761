/**
 * What an object store applies atomically, as data: built by the primary, sent to the replicas, journalled by each.
 *
 * A collection is a placement group's share of one store. Payload bytes are kept apart from the encoded operations
 * (`payload`, in order of use) so that they travel and reach the journal by reference, without a copy.
 */
import {
  array,
  type ByteReader,
  type ByteWriter,
  bytes,
  ClusterError,
  type Codec,
  map,
  type PgId,
  string,
} from '@shoal/base'
import { type ObjectId, objectIdCodec } from './object-id.ts'

/** Omap keys are byte strings, ordered as unsigned bytes. */
export interface OmapEntry {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

export type TransactionOp =
  | { readonly kind: 'create-collection'; readonly collection: PgId }
  /** The collection must be empty of objects: remove them first, in bounded steps. */
  | { readonly kind: 'remove-collection'; readonly collection: PgId }
  /** Small keyed records of the collection itself: PG info, log entries, past intervals. */
  | { readonly kind: 'meta-set'; readonly collection: PgId; readonly entries: readonly OmapEntry[] }
  | { readonly kind: 'meta-remove'; readonly collection: PgId; readonly keys: readonly Uint8Array[] }
  /** Removes keys in [from, to). */
  | {
      readonly kind: 'meta-remove-range'
      readonly collection: PgId
      readonly from: Uint8Array
      readonly to: Uint8Array
    }
  /** Creates the object if it is missing. */
  | { readonly kind: 'touch'; readonly collection: PgId; readonly object: ObjectId }
  /** Creates the object if missing, extends it as needed; a gap reads as zeros. */
  | {
      readonly kind: 'write'
      readonly collection: PgId
      readonly object: ObjectId
      readonly offset: number
      readonly data: Uint8Array
    }
  /** Zeros the range inside and beyond the present size (extends the size); whole blocks are freed. */
  | {
      readonly kind: 'zero'
      readonly collection: PgId
      readonly object: ObjectId
      readonly offset: number
      readonly length: number
    }
  | { readonly kind: 'truncate'; readonly collection: PgId; readonly object: ObjectId; readonly sizeBytes: number }
  /** Data, xattrs and omap; no error if missing. */
  | { readonly kind: 'remove'; readonly collection: PgId; readonly object: ObjectId }
  | {
      readonly kind: 'set-xattrs'
      readonly collection: PgId
      readonly object: ObjectId
      readonly xattrs: ReadonlyMap<string, Uint8Array>
    }
  | {
      readonly kind: 'remove-xattrs'
      readonly collection: PgId
      readonly object: ObjectId
      readonly names: readonly string[]
    }
  | {
      readonly kind: 'omap-set'
      readonly collection: PgId
      readonly object: ObjectId
      readonly entries: readonly OmapEntry[]
    }
  | {
      readonly kind: 'omap-remove'
      readonly collection: PgId
      readonly object: ObjectId
      readonly keys: readonly Uint8Array[]
    }
  | {
      readonly kind: 'omap-remove-range'
      readonly collection: PgId
      readonly object: ObjectId
      readonly from: Uint8Array
      readonly to: Uint8Array
    }
  | { readonly kind: 'omap-clear'; readonly collection: PgId; readonly object: ObjectId }
  | {
      readonly kind: 'omap-set-header'
      readonly collection: PgId
      readonly object: ObjectId
      readonly header: Uint8Array
    }
  /** Makes `to` an exact copy of `from` (data, xattrs, omap), replacing it; data blocks may be shared. */
  | { readonly kind: 'clone'; readonly collection: PgId; readonly object: ObjectId; readonly to: ObjectId }
  /** Renames inside the collection, replacing `to`: how a fully received copy takes its place. */
  | { readonly kind: 'rename'; readonly collection: PgId; readonly object: ObjectId; readonly to: ObjectId }

export interface Transaction {
  readonly ops: readonly TransactionOp[]
}

/** The tag of each kind on the wire and in the journal: never reused, new kinds at the end. */
const tags = [
  'create-collection',
  'remove-collection',
  'meta-set',
  'meta-remove',
  'meta-remove-range',
  'touch',
  'write',
  'zero',
  'truncate',
  'remove',
  'set-xattrs',
  'remove-xattrs',
  'omap-set',
  'omap-remove',
  'omap-remove-range',
  'omap-clear',
  'omap-set-header',
  'clone',
  'rename',
] as const satisfies readonly TransactionOp['kind'][]

const tagOf = new Map<TransactionOp['kind'], number>(tags.map((kind, index) => [kind, index]))

export const omapEntryCodec: Codec<OmapEntry> = {
  write(writer: ByteWriter, entry: OmapEntry) {
    writer.bytes(entry.key).bytes(entry.value)
  },
  read: (reader: ByteReader): OmapEntry => ({ key: reader.bytes(), value: reader.bytes() }),
}
const entriesCodec = array(omapEntryCodec)
const keysCodec = array(bytes())
const namesCodec = array(string())
const xattrsCodec = map(string(), bytes())

/** The operations without the bytes of `write`s, and those bytes in order. */
export interface EncodedTransaction {
  readonly header: Uint8Array
  readonly payload: readonly Uint8Array[]
}

function writeOp(writer: ByteWriter, op: TransactionOp, payload: Uint8Array[]): void {
  writer.u8(tagOf.get(op.kind) as number).string(op.collection)
  if ('object' in op) objectIdCodec.write(writer, op.object)
  switch (op.kind) {
    case 'create-collection':
    case 'remove-collection':
    case 'touch':
    case 'remove':
    case 'omap-clear':
      return
    case 'meta-set':
    case 'omap-set':
      return entriesCodec.write(writer, op.entries)
    case 'meta-remove':
    case 'omap-remove':
      return keysCodec.write(writer, op.keys)
    case 'meta-remove-range':
    case 'omap-remove-range':
      writer.bytes(op.from).bytes(op.to)
      return
    case 'write':
      writer.u64(op.offset).u32(op.data.length)
      if (op.data.length > 0) payload.push(op.data)
      return
    case 'zero':
      writer.u64(op.offset).u64(op.length)
      return
    case 'truncate':
      writer.u64(op.sizeBytes)
      return
    case 'set-xattrs':
      return xattrsCodec.write(writer, op.xattrs)
    case 'remove-xattrs':
      return namesCodec.write(writer, op.names)
    case 'omap-set-header':
      writer.bytes(op.header)
      return
    case 'clone':
    case 'rename':
      return objectIdCodec.write(writer, op.to)
  }
}

function readOp(reader: ByteReader, payload: PayloadCursor): TransactionOp {
  const tag = reader.u8()
  const kind = tags[tag]
  if (kind === undefined) throw new ClusterError('EBADMSG', `unknown transaction operation ${tag}`)
  const collection = reader.string() as PgId
  switch (kind) {
    case 'create-collection':
    case 'remove-collection':
      return { kind, collection }
    case 'meta-set':
      return { kind, collection, entries: entriesCodec.read(reader) }
    case 'meta-remove':
      return { kind, collection, keys: keysCodec.read(reader) }
    case 'meta-remove-range':
      return { kind, collection, from: reader.bytes(), to: reader.bytes() }
  }
  const object = objectIdCodec.read(reader)
  switch (kind) {
    case 'touch':
    case 'remove':
    case 'omap-clear':
      return { kind, collection, object }
    case 'write':
      return { kind, collection, object, offset: reader.u64(), data: payload.take(reader.u32()) }
    case 'zero':
      return { kind, collection, object, offset: reader.u64(), length: reader.u64() }
    case 'truncate':
      return { kind, collection, object, sizeBytes: reader.u64() }
    case 'set-xattrs':
      return { kind, collection, object, xattrs: xattrsCodec.read(reader) }
    case 'remove-xattrs':
      return { kind, collection, object, names: namesCodec.read(reader) }
    case 'omap-set':
      return { kind, collection, object, entries: entriesCodec.read(reader) }
    case 'omap-remove':
      return { kind, collection, object, keys: keysCodec.read(reader) }
    case 'omap-remove-range':
      return { kind, collection, object, from: reader.bytes(), to: reader.bytes() }
    case 'omap-set-header':
      return { kind, collection, object, header: reader.bytes() }
    case 'clone':
    case 'rename':
      return { kind, collection, object, to: objectIdCodec.read(reader) }
  }
}

/** Walks the payload of a message, handing out views. */
export class PayloadCursor {
  private readonly payload: Uint8Array
  private at = 0

  constructor(payload: Uint8Array) {
    this.payload = payload
  }

  take(length: number): Uint8Array {
    if (length > this.payload.length - this.at) {
      throw new ClusterError('EBADMSG', `payload ends at ${this.payload.length}, ${length} bytes wanted at ${this.at}`)
    }
    this.at += length
    return this.payload.subarray(this.at - length, this.at)
  }

  end(): void {
    if (this.at !== this.payload.length) {
      throw new ClusterError('EBADMSG', `${this.payload.length - this.at} payload bytes left over`)
    }
  }
}

export function encodeTransaction(transaction: Transaction, writer: ByteWriter, payload: Uint8Array[]): void {
  writer.u8(1).u32(transaction.ops.length)
  for (const op of transaction.ops) writeOp(writer, op, payload)
}

/** The data of `write`s are views into `payload`. Throws EBADMSG. */
export function decodeTransaction(reader: ByteReader, payload: PayloadCursor): Transaction {
  const version = reader.u8()
  if (version !== 1)
    throw new ClusterError('EPROTO', `transaction format ${version} is newer than this daemon`, {
      hint: 'upgrade this daemon',
    })
  const count = reader.count()
  const ops: TransactionOp[] = []
  for (let i = 0; i < count; i++) ops.push(readOp(reader, payload))
  return { ops }
}
