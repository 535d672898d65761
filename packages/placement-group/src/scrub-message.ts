/**
 * What members of a placement group say to each other about scrub: one kind of peer message with a table of tags of its
 * own, so that a member of an older version drops all of it alike.
 */
import { type ByteReader, type ByteWriter, boolean, ClusterError, type Codec, struct, u16, u32 } from '@shoal/base'
import { type ObjectId, objectIdCodec, objectIdsCodec, type Version, versionCodec } from '@shoal/wire'
import { type MissingObject, missingObjectsCodec } from './missing-set.ts'
import { type ScrubbedObject, scrubbedObjectsCodec } from './scrub-map.ts'
import { type ScrubRecord, scrubRecordCodec } from './scrub-record.ts'

export type ScrubMessage =
  /** primary -> member: a place among the scrubs of that OSD. */
  | { readonly kind: 'reserve'; readonly priority: number; readonly round: number }
  | { readonly kind: 'reserved'; readonly round: number }
  /** From the primary: it is not needed any more. From the member: it is taken back. */
  | { readonly kind: 'release'; readonly round: number }
  /** primary -> member: what do you have in this range, at this version of the log or a later one? */
  | {
      readonly kind: 'request'
      readonly chunk: number
      readonly version: Version
      /** Exclusive. */
      readonly after: ObjectId | undefined
      /** Inclusive; undefined: to the end. */
      readonly until: ObjectId | undefined
      readonly objectsMax: number
      readonly bytesMax: number
      readonly deep: boolean
    }
  | {
      readonly kind: 'map'
      readonly chunk: number
      /** EAGAIN: the member has not got the version. EIO: its store cannot be read. */
      readonly errno: number
      readonly objects: readonly ScrubbedObject[]
      /** The answer ends with this object; undefined: with the range. */
      readonly through: ObjectId | undefined
    }
  /** primary -> member: your copies of these are bad. They are missing from now on, or are dropped. */
  | { readonly kind: 'mend'; readonly missing: readonly MissingObject[]; readonly remove: readonly ObjectId[] }
  /**
   * primary -> member: what scrub has found, to be kept; `fresh`: just now. Otherwise a member that knows of a later scrub
   * answers with what it has.
   */
  | { readonly kind: 'record'; readonly record: ScrubRecord; readonly fresh: boolean }

type Kind = ScrubMessage['kind']
type Body<K extends Kind> = Omit<Extract<ScrubMessage, { kind: K }>, 'kind'>

const maybeObject: Codec<ObjectId | undefined> = {
  write(writer, object) {
    writer.boolean(object !== undefined)
    if (object !== undefined) objectIdCodec.write(writer, object)
  },
  read: (reader) => (reader.boolean() ? objectIdCodec.read(reader) : undefined),
}

const codecs: { readonly [K in Kind]: Codec<Body<K>> } = {
  reserve: struct<Body<'reserve'>>({ priority: u32(), round: u32() }),
  reserved: struct<Body<'reserved'>>({ round: u32() }),
  release: struct<Body<'release'>>({ round: u32() }),
  request: struct<Body<'request'>>({
    chunk: u32(),
    version: versionCodec,
    after: maybeObject,
    until: maybeObject,
    objectsMax: u32(),
    bytesMax: u32(),
    deep: boolean(),
  }),
  map: struct<Body<'map'>>({ chunk: u32(), errno: u16(), objects: scrubbedObjectsCodec, through: maybeObject }),
  mend: struct<Body<'mend'>>({ missing: missingObjectsCodec, remove: objectIdsCodec }),
  record: struct<Body<'record'>>({ record: scrubRecordCodec, fresh: boolean() }),
}

/** Tags on the wire: never reused, new kinds at the end. */
const kinds = ['reserve', 'reserved', 'release', 'request', 'map', 'mend', 'record'] as const satisfies readonly Kind[]

export const scrubMessageCodec: Codec<ScrubMessage> = {
  write(writer: ByteWriter, message: ScrubMessage) {
    writer.u8(kinds.indexOf(message.kind))
    ;(codecs[message.kind] as Codec<object>).write(writer, message)
  },
  read(reader: ByteReader): ScrubMessage {
    const kind = kinds[reader.u8()]
    if (kind === undefined) throw new ClusterError('EBADMSG', 'unknown message about scrub')
    return { kind, ...(codecs[kind] as Codec<object>).read(reader) } as ScrubMessage
  },
}
