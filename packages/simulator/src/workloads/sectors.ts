/** A block device as sectors, each a register of its own: what clients wrote to each, what they saw, and what is there in the end. */
import { emptyBytes, type Timers } from '@shoal/base'
import { Image, type ImageData, type ObjectIo } from '@shoal/block'
import { linearizabilityViolation } from '../checkers/explain-violation.ts'
import { registerModel } from '../checkers/register-model.ts'
import type { FinalReader, HistoryEvent, HistoryOutcome, Violation, WorkloadContext } from '../history.ts'
import { tokenBytes } from './record.ts'

export const sectorBytes = 512

export function timersOf({ sleep }: WorkloadContext): Timers {
  return {
    after(delayMs, callback) {
      let cancelled = false
      void sleep(delayMs).then(() => {
        if (!cancelled) callback()
      })
      return {
        cancel: () => {
          cancelled = true
        },
      }
    },
    soon: (callback) => void sleep(0).then(callback),
  }
}

export interface SectorRange {
  readonly first: number
  readonly count: number
}

/** Every sector begins with its write's token, and is filled with bytes of that token. */
export function stamped(token: number, count: number): Uint8Array {
  const bytes = new Uint8Array(count * sectorBytes)
  const sector = stampedSector(token)
  for (let i = 0; i < count; i++) bytes.set(sector, i * sectorBytes)
  return bytes
}

function stampedSector(token: number): Uint8Array {
  const sector = tokenBytes(token, sectorBytes)
  new DataView(sector.buffer).setFloat64(0, token)
  return sector
}

/** Token of each sector; 0 for zeros, NaN for what no write put there as a whole. */
export function tokensOf(bytes: Uint8Array): readonly number[] {
  const tokens: number[] = []
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = 0; at < bytes.length; at += sectorBytes) {
    const token = view.getFloat64(at)
    const expected = token === 0 ? new Uint8Array(sectorBytes) : stampedSector(token)
    const whole = Buffer.compare(bytes.subarray(at, at + sectorBytes), expected) === 0
    tokens.push(whole ? token : Number.NaN)
  }
  return tokens
}

export function joined(pieces: readonly ImageData[], length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    if (piece.kind === 'data') bytes.set(piece.data, at)
    at += piece.kind === 'data' ? piece.data.length : piece.length
  }
  return bytes
}

/** A flush that was answered while a write begun before it was not is one that did not wait. */
export function checkFlushes(events: readonly HistoryEvent[]): readonly Violation[] {
  const violations: Violation[] = []
  for (const flush of events) {
    if (flush.invoke.kind !== 'flush' || flush.outcome?.kind !== 'ok') continue
    for (const write of events) {
      if (write === flush) break
      if (write.invoke.kind === 'flush' || write.invoke.kind === 'read') continue
      if (write.invoke['life'] !== flush.invoke['life']) continue
      if ((write.endOrder ?? Number.POSITIVE_INFINITY) < (flush.endOrder ?? 0)) continue
      const message = `${flush.object}: a flush was answered at ${flush.endMs} ms before a write begun at ${write.startMs} ms was settled`
      violations.push({ checker: 'flush', object: flush.object, message, details: { flush, write } })
    }
  }
  return violations
}

export async function readBack(pool: string, header: Image['header'], final: FinalReader): Promise<readonly number[]> {
  /** The final reader does one thing at a time. */
  let before: Promise<unknown> = Promise.resolve()
  const io: ObjectIo = {
    async execute(object, [op]) {
      const reading = before.then(() => final.read(pool, object))
      before = reading
      const data = (await reading)?.data ?? emptyBytes
      const { offset, length } = op?.kind === 'read' ? op : { offset: 0, length: 0 }
      return { results: [{ kind: 'data', data: data.subarray(offset, offset + length) }] }
    },
  }
  const image = new Image(io, { monotonicMs: () => 0 }, header, 0)
  return tokensOf(joined(await image.read(0, image.sizeBytes), image.sizeBytes))
}

/** Each sector's own history. */
export function checkSectors(
  name: string,
  events: readonly HistoryEvent[],
  last: readonly number[],
  sectors: number,
): readonly Violation[] {
  const violations: Violation[] = []
  const bySector: HistoryEvent[][] = Array.from({ length: sectors }, () => [])
  for (const event of events) {
    const { kind, first, count, token } = event.invoke as unknown as SectorRange & { kind: string; token: number }
    if (kind === 'flush') continue
    for (let i = 0; i < count; i++) bySector[first + i]?.push(sectorEvent(event, kind, i, token))
  }
  const endMs = Math.max(0, ...events.map((event) => Math.max(event.startMs, event.endMs ?? 0))) + 1
  for (const [sector, own] of bySector.entries()) {
    const object = `${name}/sector ${sector}`
    const final: HistoryEvent = {
      process: -1,
      object,
      invoke: { kind: 'read', final: true },
      startMs: endMs,
      endMs: endMs + 1,
      outcome: { kind: 'ok', value: last[sector] },
    }
    const violation = linearizabilityViolation(registerModel(0), object, [...own, final])
    if (violation !== undefined) violations.push({ ...violation, checker: 'sectors' })
    // One is as good as a thousand: a lost write has many sectors.
    if (violations.length >= 3) break
  }
  return violations
}

function sectorEvent(event: HistoryEvent, kind: string, index: number, token: number): HistoryEvent {
  const { outcome } = event
  if (kind !== 'read') {
    const seen: HistoryOutcome | undefined = outcome?.kind === 'ok' ? { kind: 'ok', value: undefined } : outcome
    return { ...event, invoke: { kind: 'write', value: token }, outcome: seen }
  }
  const tokens = outcome?.kind === 'ok' ? (outcome.value as readonly number[]) : []
  return {
    ...event,
    invoke: { kind: 'read' },
    outcome: outcome?.kind === 'ok' ? { kind: 'ok', value: tokens[index] } : outcome,
  }
}
