/**
 * The log of a placement group: what was done to which object, newest last. It is how copies that were away find out
 * what they missed, and how a resent request is recognised.
 *
 * Invariants
 * 1. Versions grow strictly; the counter part grows by exactly one except across a trim or a rewind.
 * 2. Every entry is above `tail`, none is above `head`. The last is `head`, except after a split: `head` is then that of the
 *    whole, whose last entries may be of other parts (pg-split.ts).
 */
import { AssertionError, type Codec, emptyBytes, encode, oneOf, versioned } from '@shoal/base'
import {
  compareVersions,
  equalVersions,
  formatVersion,
  type ObjectId,
  objectIdCodec,
  objectKey,
  type RequestId,
  requestIdCodec,
  type Version,
  versionCodec,
} from '@shoal/wire'
import { type DoneRequest, type OpenRequests, RequestTable, requestsBelow } from './request-table.ts'

export interface LogEntry {
  /** `error`: the request failed and changed nothing; a resend must fail in the same way. */
  readonly kind: 'modify' | 'delete' | 'error'
  readonly version: Version
  /** Version of the object before; zero if it did not exist. */
  readonly priorVersion: Version
  readonly object: ObjectId
  readonly request: RequestId
  /** The oldest request that the client still waits for in this PG, as it says. */
  readonly oldestTid: number
  readonly modifiedMs: number
  /** Of an `error`; otherwise 0. */
  readonly errno: number
  /** Of the whole PG, once this entry is applied: exact counts without a record of their own. */
  readonly pgObjects: number
  readonly pgBytes: number
}

const kindCodec = oneOf(['modify', 'delete', 'error'])

/**
 * Entries of the first version do not tell what their client waited for: it may have been anything. Written out instead
 * of composed: it is the hottest of all codecs, and its results fill most of an OSD's heap.
 */
const plainEntryCodec: Codec<LogEntry> = versioned<LogEntry>(2, 1, 'PG log entry', {
  write(writer, entry) {
    kindCodec.write(writer, entry.kind)
    versionCodec.write(writer, entry.version)
    versionCodec.write(writer, entry.priorVersion)
    objectIdCodec.write(writer, entry.object)
    requestIdCodec.write(writer, entry.request)
    writer.f64(entry.modifiedMs).u16(entry.errno).u64(entry.pgObjects).u64(entry.pgBytes).u64(entry.oldestTid)
  },
  read: (reader, version) => ({
    kind: kindCodec.read(reader),
    version: versionCodec.read(reader),
    priorVersion: versionCodec.read(reader),
    object: objectIdCodec.read(reader),
    request: requestIdCodec.read(reader),
    modifiedMs: reader.f64(),
    errno: reader.u16(),
    pgObjects: reader.u64(),
    pgBytes: reader.u64(),
    oldestTid: version >= 2 ? reader.u64() : 0,
  }),
})

/** What was encoded or decoded last: a primary stores and sends the same entry, a replica stores the one it received. */
let lastEntry: LogEntry | undefined
let lastEncoded = emptyBytes

/** The bytes may be a view of a message: copy what is to last. */
export function encodeLogEntry(entry: LogEntry): Uint8Array {
  if (entry !== lastEntry) {
    lastEncoded = encode(plainEntryCodec, entry)
    lastEntry = entry
  }
  return lastEncoded
}

export const logEntryCodec: Codec<LogEntry> = {
  write(writer, entry) {
    writer.raw(encodeLogEntry(entry))
  },
  read(reader) {
    const from = reader.offset
    const entry = plainEntryCodec.read(reader)
    lastEncoded = reader.since(from)
    lastEntry = entry
    return entry
  },
}

/** What an entry takes in the store besides the names of its object, key and framing included; rounded up. */
const plainEntryBytes = 200
/** Of UTF-8, for each unit of a string. */
const unitBytesMax = 3

/** At least as many bytes as the entry takes in the store, found without encoding it. */
function storedBytes({ object }: LogEntry): number {
  return plainEntryBytes + unitBytesMax * (object.name.length + object.namespace.length)
}

/** All entries of a log in (tail, head]. */
export interface LogSegment {
  readonly tail: Version
  readonly head: Version
  readonly entries: readonly LogEntry[]
}

export class PgLog {
  tail: Version
  head: Version
  private entries: LogEntry[]
  /** At least as much as its entries take in the store. */
  private entryBytes = 0
  private readonly requests: RequestTable
  private readonly latest = new Map<string, LogEntry>()

  /** `trimmedRequests`: what is kept of entries at or below the tail. `head`: where it is above the last entry. */
  constructor(
    tail: Version,
    entries: readonly LogEntry[],
    trimmedRequests: readonly DoneRequest[] = [],
    head: Version = tail,
  ) {
    this.tail = tail
    this.requests = new RequestTable(requestsBelow(tail, trimmedRequests))
    this.head = tail
    this.entries = []
    for (const entry of entries) this.append(entry)
    if (compareVersions(head, this.head) > 0) this.head = head
  }

  get length(): number {
    return this.entries.length
  }

  get bytes(): number {
    return this.entryBytes
  }

  all(): readonly LogEntry[] {
    return this.entries
  }

  append(entry: LogEntry): void {
    if (compareVersions(entry.version, this.head) <= 0) {
      throw new AssertionError(`PG log invariant 1: ${formatVersion(entry.version)} after ${formatVersion(this.head)}`)
    }
    this.entries.push(entry)
    this.entryBytes += storedBytes(entry)
    this.head = entry.version
    this.requests.add(entry)
    if (entry.kind !== 'error') this.latest.set(objectKey(entry.object), entry)
  }

  /** What became of a request, as long as it may be sent again. */
  findRequest(request: RequestId): DoneRequest | undefined {
    return this.requests.find(request)
  }

  /** Whether its client has said that it does not wait for the request any more. */
  isRequestOver(request: RequestId): boolean {
    return this.requests.isOver(request)
  }

  /** Done, without an entry, and possibly to be sent again. */
  get trimmedRequests(): readonly DoneRequest[] {
    return this.requests.trimmed
  }

  /** Done, with or without an entry, and possibly to be sent again. */
  openRequests(): OpenRequests {
    return this.requests.open()
  }

  /** The newest entry that changed an object. */
  latestOf(object: ObjectId): LogEntry | undefined {
    return this.latest.get(objectKey(object))
  }

  /** Everything after the newest entry that is not above `since`; undefined when that is trimmed. */
  segmentSince(since: Version): LogSegment | undefined {
    if (compareVersions(since, this.tail) < 0) return undefined
    let from = this.entries.length
    while (from > 0 && compareVersions((this.entries[from - 1] as LogEntry).version, since) > 0) from--
    return { tail: this.entries[from - 1]?.version ?? this.tail, head: this.head, entries: this.entries.slice(from) }
  }

  whole(): LogSegment {
    return { tail: this.tail, head: this.head, entries: this.entries }
  }

  /** Forgets entries up to and with `to`; returns them. Of their requests it keeps so many of those that may come again. */
  trim(to: Version, requestsMax: number): readonly LogEntry[] {
    let count = 0
    while (count < this.entries.length && compareVersions((this.entries[count] as LogEntry).version, to) <= 0) count++
    if (count === 0) return []
    const trimmed = this.entries.slice(0, count)
    this.entries = this.entries.slice(count)
    this.tail = (trimmed.at(-1) as LogEntry).version
    for (const entry of trimmed) {
      this.entryBytes -= storedBytes(entry)
      const object = objectKey(entry.object)
      if (this.latest.get(object) === entry) this.latest.delete(object)
    }
    this.requests.trim(trimmed, requestsMax)
    return trimmed
  }

  /** The version to which the log may be cut so that at most `keep` entries of at most `bytes` stay. */
  trimPoint(keep: number, bytes: number): Version | undefined {
    let count = Math.max(0, this.entries.length - keep)
    let left = this.entryBytes
    for (const entry of this.entries.slice(0, count)) left -= storedBytes(entry)
    for (; left > bytes && count < this.entries.length; count++) left -= storedBytes(this.entries[count] as LogEntry)
    return this.entries[count - 1]?.version
  }

  has(version: Version): boolean {
    let low = 0
    let high = this.entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareVersions((this.entries[middle] as LogEntry).version, version) < 0) low = middle + 1
      else high = middle
    }
    const found = this.entries[low]
    return found !== undefined && equalVersions(found.version, version)
  }
}
