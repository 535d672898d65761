/**
 * A block device and its one user: random writes of whole sectors, flushes, trims, zeroes and reads, through the block
 * library. Each sector is a register of its own: a write is atomic for a sector, not for a range.
 *
 * What is promised: a write that was answered is there for good. A flush that was answered vouches for every write begun
 * before it, answered or not: after that the sectors hold them, whatever happens to the client. A write that neither was
 * answered nor flushed leaves each of its sectors old or new.
 */
import { emptyBytes } from '@shoal/base'
import { Image, type ImageData, ImageStore, type ObjectIo } from '@shoal/block'
import { linearizabilityViolation } from '../checkers/explain-violation.ts'
import { registerModel } from '../checkers/register-model.ts'
import type { FinalReader, HistoryEvent, HistoryOutcome, Violation, Workload, WorkloadContext } from '../history.ts'
import { inLanes, nextToken, outcomeOf, timersOf, tokenBytes, weighted } from './record.ts'

const sectorBytes = 512

export interface BlockDeviceOptions {
  readonly objectBytes?: number
  readonly sectors?: number
  readonly pauseMsMax?: number
  /** Writes that go out before a flush without being waited for, at most. */
  readonly burstMax?: number
}

export function blockDevice(options: BlockDeviceOptions = {}): Workload {
  const sectors = options.sectors ?? 768
  /** By image, where it is: to read it back in the end. */
  const images = new Map<string, { readonly pool: string; readonly header: Image['header'] }>()
  return {
    name: 'block-device',
    async run(context) {
      const image = await openImage(context, sectors * sectorBytes, options.objectBytes ?? 65_536)
      if (image === undefined) return
      const device = new Device(context, image)
      images.set(image.header.name, { pool: context.pool.name, header: image.header })
      await inLanes(context, 2, options.pauseMsMax ?? 150, (lane) =>
        lane === 0 ? device.burst(options.burstMax ?? 6) : device.single(),
      )
    },
    async check(history, final) {
      const violations: Violation[] = []
      for (const [name, { pool, header }] of images) {
        const events = history.events.filter(({ object }) => object === name)
        violations.push(...checkFlushes(events))
        const last = await readBack(pool, header, final)
        violations.push(...checkSectors(name, events, last, sectors))
      }
      return violations
    },
  }
}

/** Made by whichever life of this client comes first. Undefined when the workload ended before it could. */
async function openImage(context: WorkloadContext, sizeBytes: number, objectBytes: number): Promise<Image | undefined> {
  const { nowMs, pool, process } = context
  const clock = { monotonicMs: nowMs, wallMs: nowMs }
  const images = new ImageStore({ clock, random: context.random, timers: timersOf(context) }, pool)
  const name = `device-${process}`
  while (!context.stopped()) {
    try {
      return await images.open(name)
    } catch (error) {
      outcomeOf(error)
    }
    try {
      await images.create(name, sizeBytes, objectBytes)
    } catch (error) {
      outcomeOf(error)
      await context.sleep(500)
    }
  }
  return undefined
}

/** What a request does to its sectors; zeros are token 0. */
type Request = 'write' | 'discard' | 'zeroes' | 'read'

class Device {
  private readonly context: WorkloadContext
  private readonly image: Image
  /** Of the client that has opened the image: a flush vouches for its own writes only. */
  private readonly life: number

  constructor(context: WorkloadContext, image: Image) {
    this.context = context
    this.image = image
    this.life = context.history.events.length
  }

  /** Several writes at once, then a flush that does not wait for them; sometimes what they wrote is read right after. */
  async burst(most: number): Promise<void> {
    const { random } = this.context
    const writes = Array.from({ length: 1 + random.below(most) }, () => this.change())
    await this.flush()
    const settled = Promise.all(writes)
    if (random.below(2) === 0) await this.request('read', this.anyRange())
    await settled
  }

  /** One request, waited for: as a write with FUA is. */
  async single(): Promise<void> {
    if (this.context.random.below(2) === 0) await this.request('read', this.anyRange())
    else await this.change()
  }

  private change(): Promise<void> {
    const kind = weighted<Request>(this.context.random, [
      [16, 'write'],
      [3, 'discard'],
      [2, 'zeroes'],
    ])
    return this.request(kind, this.anyRange())
  }

  private async flush(): Promise<void> {
    await this.record({ kind: 'flush' }, async () => {
      await this.image.flush()
      return undefined
    })
  }

  private async request(kind: Request, { first, count }: SectorRange): Promise<void> {
    const { image } = this
    const at = first * sectorBytes
    const length = count * sectorBytes
    const token = kind === 'write' ? nextToken(this.context) : 0
    await this.record({ kind, first, count, token }, async () => {
      switch (kind) {
        case 'write':
          await image.write(at, stamped(token, count))
          return undefined
        case 'discard':
          await image.discard(at, length)
          return undefined
        case 'zeroes':
          await image.writeZeroes(at, length, this.context.random.below(2) === 0)
          return undefined
        case 'read':
          return tokensOf(joined(await image.read(at, length), length))
      }
    })
  }

  private async record(invoke: HistoryEvent['invoke'], work: () => Promise<unknown>): Promise<void> {
    const { history, nowMs, process } = this.context
    const call = { ...invoke, life: this.life }
    const event = history.begin(process, this.image.header.name, call, nowMs())
    let outcome: HistoryOutcome
    try {
      outcome = { kind: 'ok', value: await work() }
    } catch (error) {
      outcome = outcomeOf(error)
      // Some of its objects may have been written all the same.
      if (invoke.kind !== 'read' && outcome.kind === 'failed') outcome = { kind: 'unknown' }
    }
    history.end(event, outcome, nowMs())
  }

  private anyRange(): SectorRange {
    const { random } = this.context
    const sectors = this.image.sizeBytes / sectorBytes
    const count = Math.min(sectors, Math.ceil(160 ** random.fraction()))
    return { first: random.below(sectors - count + 1), count }
  }
}

interface SectorRange {
  readonly first: number
  readonly count: number
}

/** Every sector begins with its write's token, and is filled with bytes of that token. */
function stamped(token: number, count: number): Uint8Array {
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
function tokensOf(bytes: Uint8Array): readonly number[] {
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

function joined(pieces: readonly ImageData[], length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    if (piece.kind === 'data') bytes.set(piece.data, at)
    at += piece.kind === 'data' ? piece.data.length : piece.length
  }
  return bytes
}

/** A flush that was answered while a write begun before it was not is one that did not wait. */
function checkFlushes(events: readonly HistoryEvent[]): readonly Violation[] {
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

async function readBack(pool: string, header: Image['header'], final: FinalReader): Promise<readonly number[]> {
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
function checkSectors(
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
