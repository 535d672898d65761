/**
 * Images that several clients write in turn: who wants to takes the lock from who has it, by asking or by force. Clients close
 * their sessions and open new ones, die, and are cut off.
 *
 * What is promised beside what a block device promises to one user (block-device.ts):
 * - a write that was begun before another client's was, to the same sector, does not land after that one was answered, whatever
 *   became of it;
 * - who has written a sector and holds the lock still reads what it wrote;
 * - while an image is paused no write begins, and none is under way.
 */
import { type Image, ImageSession, ImageStore, pauseImage } from '@shoal/block'
import { silentLog } from '@shoal/testkit'
import type { HistoryEvent, HistoryOutcome, Violation, Workload, WorkloadContext } from '../history.ts'
import { inLanes, nextToken, outcomeOf } from './record.ts'
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

const images = 2
const sectors = 24
const objectBytes = 4096
const writeLanes = 2
const pauseMsMax = 300
const lifeMsMax = 15_000
/** Short: some writes end without anybody knowing how. */
const operationTimeoutMs = 4_000

export function sharedImage(): Workload {
  const seen = new Map<string, { readonly pool: string; readonly header: Image['header'] }>()
  return {
    name: 'shared-image',
    async run(context) {
      while (!context.stopped()) {
        const session = await open(context, `shared-${context.random.below(images)}`)
        if (session === undefined) continue
        const { header } = session.image
        seen.set(header.name, { pool: context.pool.name, header })
        await new Tenant(context, session).live()
      }
    },
    async check(history, final) {
      const violations: Violation[] = []
      for (const [name, { pool, header }] of seen) {
        const events = history.events.filter(({ object }) => object === name)
        const requests = events.filter(({ invoke }) => invoke.kind !== 'pause')
        const last = await readBack(pool, header, final)
        violations.push(...checkFlushes(requests), ...checkLate(name, requests, last), ...checkOwn(requests))
        violations.push(...checkPauses(events), ...checkSectors(name, requests, last, sectors))
      }
      return violations
    },
  }
}

function envOf(context: WorkloadContext) {
  const { nowMs, random } = context
  return { clock: { monotonicMs: nowMs, wallMs: nowMs }, timers: timersOf(context), random, log: silentLog }
}

/** Undefined when it did not work out this time. */
async function open(context: WorkloadContext, name: string): Promise<ImageSession | undefined> {
  const { client } = context
  const env = envOf(context)
  const pool = context.pool.withTimeout(operationTimeoutMs)
  const store = new ImageStore(env, pool)
  try {
    await store.create(name, sectors * sectorBytes, objectBytes)
  } catch (error) {
    outcomeOf(error)
  }
  try {
    return await ImageSession.open(await store.open(name), { env, io: pool, fencer: client, lockTimeoutMs: 20_000 })
  } catch (error) {
    outcomeOf(error)
    await context.sleep(500)
    return undefined
  }
}

/** One session's life. */
class Tenant {
  private readonly context: WorkloadContext
  private readonly session: ImageSession
  /** Tells it from other sessions, also of the same client. */
  private readonly life: number

  constructor(context: WorkloadContext, session: ImageSession) {
    this.context = context
    this.session = session
    this.life = context.history.events.length
  }

  async live(): Promise<void> {
    const { context, session } = this
    const untilMs = context.nowMs() + context.random.fraction() * lifeMsMax
    const stopped = (): boolean => context.stopped() || session.isEnded || context.nowMs() > untilMs
    await inLanes({ ...context, stopped }, writeLanes + 1, pauseMsMax, (lane) =>
      lane < writeLanes ? this.write(lane) : this.other(),
    )
    try {
      await session.close()
    } catch (error) {
      outcomeOf(error)
    }
  }

  /** Each lane has sectors of its own, so that what it wrote is what it reads. */
  private async write(lane: number): Promise<void> {
    const { context, session } = this
    const { random } = context
    const share = sectors / writeLanes
    const count = 1 + random.below(8)
    const range = { first: lane * share + random.below(share - count + 1), count }
    let event: HistoryEvent | undefined
    let token = 0
    let tenure = 0
    try {
      await session.whenOpen(() => {
        token = nextToken(context)
        tenure = session.tenure
        // Before this nothing of it was sent.
        event = this.begin({ kind: 'write', ...range, token })
        return session.image.write(range.first * sectorBytes, stamped(token, count))
      })
    } catch (error) {
      outcomeOf(error)
      // Some of its objects may have been written all the same.
      if (event !== undefined) this.end(event, { kind: 'unknown' })
      return
    }
    if (event !== undefined) this.end(event, { kind: 'ok', value: undefined })
    if (random.below(2) === 0) await this.read(range, { token, tenure })
  }

  private async other(): Promise<void> {
    const { random } = this.context
    const choice = random.below(16)
    if (choice === 0) return this.pause()
    if (choice < 4) return this.flush()
    const first = random.below(sectors)
    await this.read({ first, count: 1 + random.below(sectors - first) }, undefined)
  }

  /** `own`: what this session wrote there, and in which of its times with the lock. */
  private async read(range: SectorRange, own: { readonly token: number; readonly tenure: number } | undefined) {
    const { session } = this
    const length = range.count * sectorBytes
    const event = this.begin({ kind: 'read', ...range, token: own?.token ?? 0 })
    try {
      const tokens = tokensOf(joined(await session.read(range.first * sectorBytes, length), length))
      const isOwn = own !== undefined && session.holdsLock && session.tenure === own.tenure
      Object.assign(event.invoke, { isOwn })
      this.end(event, { kind: 'ok', value: tokens })
    } catch (error) {
      this.end(event, outcomeOf(error))
    }
  }

  private async flush(): Promise<void> {
    const event = this.begin({ kind: 'flush' })
    await this.session.flush()
    this.end(event, { kind: 'ok', value: undefined })
  }

  /** As whoever takes a snapshot does; the guard proves until when it held. */
  private async pause(): Promise<void> {
    const { context, session } = this
    const { pool, client, random } = context
    const { id } = session.image.header
    try {
      const pauseMs = 1_000 + random.below(4_000)
      const pause = await pauseImage({ env: envOf(context), io: pool, fencer: client, pauseMs }, id)
      const event = this.begin({ kind: 'pause' })
      await context.sleep(random.fraction() * pauseMs * 1.2)
      this.end(event, { kind: 'unknown' })
      await pool.execute(`block_header.${id}`, [pause.guard])
      event.outcome = { kind: 'ok', value: undefined }
      await pause.end()
    } catch (error) {
      outcomeOf(error)
    }
  }

  private begin(invoke: HistoryEvent['invoke']): HistoryEvent {
    const { history, nowMs, process } = this.context
    return history.begin(process, this.session.image.header.name, { ...invoke, life: this.life }, nowMs())
  }

  private end(event: HistoryEvent, outcome: HistoryOutcome): void {
    this.context.history.end(event, outcome, this.context.nowMs())
  }
}

interface Write {
  readonly event: HistoryEvent
  readonly life: unknown
  readonly token: number
}

/** By sector, in order of their beginnings. */
function writesOf(events: readonly HistoryEvent[]): readonly (readonly Write[])[] {
  const bySector: Write[][] = Array.from({ length: sectors }, () => [])
  for (const event of events) {
    if (event.invoke.kind !== 'write') continue
    const { first, count, token, life } = event.invoke as unknown as SectorRange & { token: number; life: number }
    for (let i = first; i < first + count; i++) bySector[i]?.push({ event, life, token })
  }
  return bySector
}

/** Nobody sees a write when one of another session that began later had been answered before. */
function checkLate(name: string, events: readonly HistoryEvent[], last: readonly number[]): readonly Violation[] {
  const writes = writesOf(events)
  const violations: Violation[] = []
  const look = (sector: number, token: number, beforeOrder: number, seenBy: unknown): void => {
    const found = writes[sector]?.find((write) => write.token === token)
    if (found === undefined) return
    const later = writes[sector]?.find(
      ({ event, life }) =>
        life !== found.life &&
        (event.startOrder ?? 0) > (found.event.startOrder ?? 0) &&
        event.outcome?.kind === 'ok' &&
        (event.endOrder ?? Number.POSITIVE_INFINITY) < beforeOrder,
    )
    if (later === undefined || violations.length >= 3) return
    const message = `${name}/sector ${sector}: a write begun at ${found.event.startMs} ms landed after one of another session, begun at ${later.event.startMs} ms`
    violations.push({ checker: 'late-write', object: name, message, details: { found, later, seenBy } })
  }
  for (const event of events) {
    if (event.invoke.kind !== 'read' || event.outcome?.kind !== 'ok') continue
    const { first } = event.invoke as unknown as SectorRange
    const tokens = event.outcome.value as readonly number[]
    for (const [i, token] of tokens.entries()) look(first + i, token, event.startOrder ?? 0, event)
  }
  for (const [sector, token] of last.entries()) look(sector, token, Number.POSITIVE_INFINITY, 'the end')
  return violations
}

/** Who holds the lock sees its own writes, and nobody else's. */
function checkOwn(events: readonly HistoryEvent[]): readonly Violation[] {
  const violations: Violation[] = []
  for (const event of events) {
    if (event.invoke['isOwn'] !== true || event.outcome?.kind !== 'ok') continue
    const tokens = event.outcome.value as readonly number[]
    if (tokens.every((token) => token === event.invoke['token'])) continue
    const message = `${event.object}: at ${event.startMs} ms the holder of the lock read what somebody else wrote over its own`
    violations.push({ checker: 'one-writer', object: event.object, message, details: event })
  }
  return violations.slice(0, 3)
}

function checkPauses(events: readonly HistoryEvent[]): readonly Violation[] {
  const violations: Violation[] = []
  for (const pause of events) {
    if (pause.invoke.kind !== 'pause' || pause.outcome?.kind !== 'ok') continue
    for (const write of events) {
      if (write.invoke.kind !== 'write') continue
      const begun = write.startOrder ?? 0
      if (begun < (pause.startOrder ?? 0) || begun > (pause.endOrder ?? 0)) continue
      const message = `${pause.object}: a write began at ${write.startMs} ms, while the image was paused`
      violations.push({ checker: 'pause', object: pause.object, message, details: { pause, write } })
    }
  }
  return violations.slice(0, 3)
}
