/**
 * What every member of a placement group does for scrub, the primary included: looks at its objects of a range, keeps what
 * was found, gives up copies that are bad.
 *
 * Invariant: a range is looked at in a state that has every write up to the version of the request. Writes and requests
 * come from the same primary in order, and store reads see what was submitted: a member whose log is behind says so.
 */
import { errorTable, type OsdId } from '@shoal/base'
import { compareVersions, type TransactionOp } from '@shoal/wire'
import type { PgCore } from './core.ts'
import type { PgInput } from './effects.ts'
import { versionOf } from './object-attribute.ts'
import { isTemporary } from './object-transfer.ts'
import { clearMissing, rewriteLog, rewriteSnapRecords, setMissing, setTrimmedRequests } from './pg-store.ts'
import type { ScrubbedObject } from './scrub-map.ts'
import type { ScrubMessage } from './scrub-message.ts'
import { type ScrubRecord, setScrubRecord } from './scrub-record.ts'

type Of<K extends ScrubMessage['kind']> = Extract<ScrubMessage, { kind: K }>
export type ScrubAnswer = Of<'map'>

export class ScrubMember {
  private readonly core: PgCore
  /** Undefined until the placement group was clean once. */
  record: ScrubRecord | undefined
  private held: { readonly primary: OsdId; readonly round: number } | undefined

  constructor(core: PgCore, record: ScrubRecord | undefined) {
    this.core = core
    this.record = record
  }

  reset(): void {
    if (this.held !== undefined) this.core.emit({ kind: 'release', slot: 'remote-scrub' })
    this.held = undefined
  }

  onMessage(from: OsdId, message: Of<'reserve' | 'release' | 'request' | 'mend' | 'record'>): void {
    const { core } = this
    switch (message.kind) {
      case 'reserve':
        this.held = { primary: from, round: message.round }
        return core.emit({
          kind: 'reserve',
          slot: 'remote-scrub',
          priority: message.priority,
          round: message.round,
        })
      case 'release':
        if (this.held?.round !== message.round) return
        return this.reset()
      case 'request':
        return this.examine(message, (answer) => core.send(from, { kind: 'scrub', message: answer }))
      case 'mend': {
        for (const missing of message.missing) core.missing.set(missing)
        const steps: TransactionOp[] = message.remove.map((object) => ({
          kind: 'remove',
          collection: core.pgId,
          object,
        }))
        if (message.missing.length > 0) steps.push(setMissing(core.pgId, message.missing))
        return core.transact(steps)
      }
      case 'record': {
        const { record } = this
        if (message.fresh || record === undefined || record.scrubbedMs <= message.record.scrubbedMs)
          return this.keep(message.record)
        return core.send(from, { kind: 'scrub', message: { kind: 'record', record, fresh: false } })
      }
    }
  }

  onGranted(round: number): void {
    if (this.held?.round !== round) return
    this.core.send(this.held.primary, { kind: 'scrub', message: { kind: 'reserved', round } })
  }

  /** Somebody more urgent has the slot. */
  onRevoked(round: number): void {
    const { held } = this
    if (held?.round !== round) return
    this.held = undefined
    this.core.send(held.primary, { kind: 'scrub', message: { kind: 'release', round } })
  }

  keep(record: ScrubRecord): void {
    this.record = record
    this.core.transact([setScrubRecord(this.core.pgId, record)])
  }

  /** The answer comes later, unless the interval ends before. */
  examine(request: Of<'request'>, answer: (map: ScrubAnswer) => void): void {
    const { core } = this
    const { chunk, version, after, until, objectsMax, bytesMax, deep } = request
    const failed = (errno: number): void => answer({ kind: 'map', chunk, errno, objects: [], through: undefined })
    if (compareVersions(core.log.head, version) < 0) return failed(errorTable.EAGAIN.errno)
    // The records of the group itself are looked at once in a scrub.
    const records = deep && after === undefined
    const token = core.expectInInterval((input) => {
      if (input.kind !== 'examined') return
      const bytes = deep ? input.objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) : 0
      core.emit({ kind: 'spent', work: 'scrub', bytes, admitted: core.isPrimary })
      if (input.errno !== 0) return failed(input.errno)
      if (input.damagedRecords.length > 0) this.rewriteRecords(input.damagedRecords)
      answer({ kind: 'map', chunk, errno: 0, objects: scrubbedObjects(input), through: input.through })
    })
    core.emit({ kind: 'examine', range: { after, until, objectsMax, bytesMax, deep }, records, token })
  }

  /** Records of the group that fail their checksum are written anew: from memory, or from their keys alone. */
  private rewriteRecords(damaged: readonly Uint8Array[]): void {
    const { core } = this
    const { pgId, log } = core
    core.count('scrubRepairedRecords', damaged.length)
    const message = `${damaged.length} damaged records of the log or of its kind are written anew`
    core.emit({ kind: 'log', level: 'error', message, cluster: true })
    const steps: TransactionOp[] = [
      { kind: 'meta-remove', collection: pgId, keys: damaged },
      core.recordOp(),
      ...rewriteLog(pgId, log),
      ...rewriteSnapRecords(pgId, damaged),
      clearMissing(pgId),
      setMissing(pgId, core.missing.values()),
    ]
    if (log.trimmedRequests.length > 0) steps.push(setTrimmedRequests(pgId, log.trimmedRequests))
    if (this.record !== undefined) steps.push(setScrubRecord(pgId, this.record))
    core.transact(steps)
  }
}

function scrubbedObjects({ objects }: Extract<PgInput, { kind: 'examined' }>): readonly ScrubbedObject[] {
  return objects
    .filter(({ object }) => !isTemporary(object))
    .map(({ attribute, ...rest }) => ({ ...rest, version: versionOf(attribute) }))
}
