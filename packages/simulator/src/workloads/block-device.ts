/**
 * A block device and its one user: random writes of whole sectors, flushes, trims, zeroes and reads, through the block
 * library. Each sector is a register of its own: a write is atomic for a sector, not for a range.
 *
 * What is promised: a write that was answered is there for good. A flush that was answered vouches for every write begun
 * before it, answered or not: after that the sectors hold them, whatever happens to the client. A write that neither was
 * answered nor flushed leaves each of its sectors old or new.
 */
import { type Image, ImageStore } from '@shoal/block'
import type { HistoryEvent, HistoryOutcome, Violation, Workload, WorkloadContext } from '../history.ts'
import { inLanes, nextToken, outcomeOf, weighted } from './record.ts'
import {
  checkFlushes,
  checkSectors,
  joined,
  readBack,
  type SectorRange,
  sectorBytes,
  stamped,
  timersOf,
  tokensOf,
} from './sectors.ts'

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
