/**
 * Which requests a PG has done, so that a resend is answered and never done again: those of its log, and of those whose
 * entries are gone the ones that may still be sent again ("dups", as in Ceph).
 *
 * Each operation tells the oldest request that its client still waits for in this PG. What is older was answered or given
 * up: it is never sent again, and if a copy of it still comes, from a connection that broke long ago, nobody waits for it.
 * So a client that goes on costs its few requests under way, one that has stopped its last ones, for as long as there is
 * room. docs/decisions/006-clients-say-what-they-still-wait-for.md
 *
 * Invariants
 * 1. A request at or above its client's oldest is known for as long as its record is not pushed out by newer ones.
 * 2. The oldest of a client is known for as long as one of its requests is: the request that told it is itself not older.
 * 3. All members hold the same: the table follows from the entries of the log and from where it was cut.
 */
import { array, type Codec, struct, u16, u64, versioned } from '@shoal/base'
import { compareVersions, type RequestId, requestIdCodec, type Version, versionCodec } from '@shoal/wire'

/** A log entry is one, too. */
export interface DoneRequest {
  readonly request: RequestId
  /** What its client still waited for when it sent it. */
  readonly oldestTid: number
  readonly version: Version
  /** 0, or how it failed. */
  readonly errno: number
}

export const doneRequestsCodec: Codec<readonly DoneRequest[]> = versioned<readonly DoneRequest[]>(
  1,
  1,
  'done requests',
  array(struct<DoneRequest>({ request: requestIdCodec, oldestTid: u64(), version: versionCodec, errno: u16() })),
)

interface Client {
  oldestTid: number
  readonly byTid: Map<number, DoneRequest>
}

export class RequestTable {
  private readonly clients = new Map<number, Client>()
  /** By version. */
  private trimmedRequests: DoneRequest[] = []

  /** `trimmed`: in order of their versions, older than everything that is added later. */
  constructor(trimmed: readonly DoneRequest[]) {
    for (const done of trimmed) {
      this.add(done)
      this.trimmedRequests.push(done)
    }
  }

  /** Those without a log entry. */
  get trimmed(): readonly DoneRequest[] {
    return this.trimmedRequests
  }

  add(done: DoneRequest): void {
    const { client: id, tid } = done.request
    if (id === 0) return
    let client = this.clients.get(id)
    if (client === undefined) {
      client = { oldestTid: done.oldestTid, byTid: new Map() }
      this.clients.set(id, client)
    } else if (done.oldestTid > client.oldestTid) {
      client.oldestTid = done.oldestTid
    }
    client.byTid.set(tid, done)
  }

  find(request: RequestId): DoneRequest | undefined {
    return this.clients.get(request.client)?.byTid.get(request.tid)
  }

  /** All that may be sent again, with and without an entry, and what each client still waits for. */
  open(): OpenRequests {
    const requests: DoneRequest[] = []
    const oldestTids = new Map<number, number>()
    for (const [id, { oldestTid, byTid }] of this.clients) {
      oldestTids.set(id, oldestTid)
      for (const { request, oldestTid: told, version, errno } of byTid.values()) {
        if (request.tid >= oldestTid) requests.push({ request, oldestTid: told, version, errno })
      }
    }
    return { requests: requests.sort((a, b) => compareVersions(a.version, b.version)), oldestTids }
  }

  /** Nobody waits for it any more: its client has told so. */
  isOver(request: RequestId): boolean {
    const client = this.clients.get(request.client)
    return client !== undefined && request.tid < client.oldestTid
  }

  /** The entries are cut from the log: keeps what may be sent again, the newest `keepMax` of it. */
  trim(entries: readonly DoneRequest[], keepMax: number): void {
    const kept = this.trimmedRequests.filter((done) => this.keep(done))
    for (const entry of entries) {
      if (this.find(entry.request) !== entry || !this.keep(entry)) continue
      const { request, oldestTid, version, errno } = entry
      const done: DoneRequest = { request, oldestTid, version, errno }
      this.add(done)
      kept.push(done)
    }
    for (const done of kept.splice(0, Math.max(0, kept.length - keepMax))) this.delete(done)
    this.trimmedRequests = kept
  }

  /** False, and it is gone: nobody sends it again. */
  private keep(done: DoneRequest): boolean {
    if (!this.isOver(done.request)) return true
    this.delete(done)
    return false
  }

  private delete({ request }: DoneRequest): void {
    const client = this.clients.get(request.client)
    if (client === undefined) return
    client.byTid.delete(request.tid)
    if (client.byTid.size === 0) this.clients.delete(request.client)
  }
}

export interface OpenRequests {
  /** In order of their versions. */
  readonly requests: readonly DoneRequest[]
  /** By client. */
  readonly oldestTids: ReadonlyMap<number, number>
}

/** As many as two tables keep at most. */
const mergedMax = 4_000

/**
 * Those of two PGs that become one. What a client said in one of them about requests that are over was said of that one
 * alone: the older of what it said holds, and where it has said nothing, nothing is over.
 */
export function mergeRequests(a: OpenRequests, b: OpenRequests): readonly DoneRequest[] {
  const told = (client: number): number => Math.min(a.oldestTids.get(client) ?? 0, b.oldestTids.get(client) ?? 0)
  return [...a.requests, ...b.requests]
    .map((done) => ({ ...done, oldestTid: Math.min(done.oldestTid, told(done.request.client)) }))
    .sort((one, other) => compareVersions(one.version, other.version))
    .slice(-mergedMax)
}

/** Of the older table what the log does not reach back to. */
export function requestsBelow(tail: Version, trimmed: readonly DoneRequest[]): readonly DoneRequest[] {
  return trimmed.filter(({ version }) => compareVersions(version, tail) <= 0)
}
