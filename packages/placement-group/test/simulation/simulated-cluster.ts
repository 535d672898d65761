/**
 * A placement group on several OSDs, with clients and faults (simulated-faults.ts), slow disks and reordered delivery between
 * pairs, under virtual time: everything follows from one seed.
 */
import { concatBytes, type Epoch, type OsdId, osdId, Prng } from '@shoal/base'
import type { PgStats } from '@shoal/cluster-map'
import type { PgSettings } from '@shoal/placement-group'
import {
  type ClientOp,
  type ClientOpReply,
  decodeMessage,
  encodeMessage,
  type ObjectId,
  type PgEnvelope,
  type TransactionOp,
} from '@shoal/wire'
import { envelope, openEnvelope } from '../../src/peer-message.ts'
import type { PgInfo } from '../../src/pg-info.ts'
import { setMissing } from '../../src/pg-store.ts'
import { checkHistory } from './checkers.ts'
import { EventQueue } from './event-queue.ts'
import { MapAuthority, placeSimulated, simulatedPg } from './map-authority.ts'
import { type HistoryEntry, SimulatedClient } from './simulated-client.ts'
import { type FaultOptions, type FaultyWorld, SimulatedFaults } from './simulated-faults.ts'
import { type OsdWorld, SimulatedOsd } from './simulated-osd.ts'

export interface SimulationOptions extends FaultOptions {
  readonly osds?: number
  readonly size?: number
  readonly minSize?: number
  readonly clients?: number
  readonly faultsMs?: number
  readonly settings?: Partial<PgSettings>
  readonly verbose?: boolean
  /** A bug of the world, which the checkers must find. */
  readonly plant?: Plant
}

export interface SimulationResult {
  readonly problems: readonly string[]
  readonly operations: number
  readonly traceHash: number
  readonly epochs: number
  readonly queries: readonly unknown[]
  readonly trace: readonly string[]
}

/**
 * lying-disk: says that it is durable before it is. eternal-lease: a primary believes that nobody ever takes over, and
 * nobody waits for it. early-replicated: a write is acknowledged when it is sent to a replica. forged-up-thru: a primary
 * does not wait until the map says that it may write.
 */
const plants = ['lying-disk', 'eternal-lease', 'early-replicated', 'forged-up-thru'] as const
export type Plant = (typeof plants)[number]

const detectionMs = 600
const objectNames = ['log-a', 'log-b', 'reg-a', 'reg-b', 'reg-c', 'reg-d', 'reg-e', 'reg-f', 'reg-g', 'reg-h', 'log-c']

function recordKeysOf(step: TransactionOp): readonly Uint8Array[] {
  return step.kind === 'meta-set' ? step.entries.map(({ key }) => key) : []
}

function describeMessage(from: OsdId, to: OsdId, sealed: PgEnvelope): string {
  const whole = sealed.payload.length > 1 ? { ...sealed, payload: [concatBytes(sealed.payload)] } : sealed
  const { kind, ...rest } = openEnvelope(whole)
  const text = JSON.stringify(rest, (key, value) => {
    if (value instanceof Uint8Array) return `${value.length} bytes`
    if (key === 'object' || key === 'after') return (value as { name?: string } | undefined)?.name
    return value
  })
  return `osd.${from}>osd.${to} e${sealed.epoch} ${kind} ${text}`
}

export class SimulatedCluster implements OsdWorld, FaultyWorld {
  readonly queue = new EventQueue()
  readonly random: Prng
  readonly osds: SimulatedOsd[] = []
  readonly clients: SimulatedClient[] = []
  readonly history: HistoryEntry[] = []
  readonly authority: MapAuthority
  readonly objectNames = objectNames
  private readonly options: SimulationOptions
  private readonly traceLines: string[] = []
  private traceHash = 0
  /** Latest delivery of each directed pair, so that its order is kept. */
  private readonly channelMs = new Map<string, number>()
  /** Messages between OSDs on their way, by directed pair. */
  private readonly held = new Map<string, (() => void)[]>()
  /** By session and request. */
  private readonly asked = new Map<string, ObjectId>()
  private readonly broken: string[] = []
  private readonly earlyAnswers: string[] = []
  private readonly faults: SimulatedFaults

  constructor(options: SimulationOptions) {
    this.options = options
    this.random = new Prng(options.seed)
    const osds = options.osds ?? 4
    this.authority = new MapAuthority({
      osds,
      size: options.size ?? 3,
      minSize: options.minSize ?? 2,
      onEpoch: () => this.publish?.(),
    })
    this.faults = new SimulatedFaults(this, options)
    for (let id = 0; id < osds; id++) this.osds.push(new SimulatedOsd(osdId(id), this, options.plant, options.settings))
    for (let id = 1; id <= (options.clients ?? 3); id++) {
      this.clients.push(new SimulatedClient(id, this, this.history, objectNames))
    }
  }

  // The world of OSDs and clients

  get isQuiet(): boolean {
    return this.faults.isOver
  }

  trace(text: string): void {
    const line = `${this.queue.nowMs.toFixed(2)} ${text}`
    for (let i = 0; i < line.length; i++) this.traceHash = (Math.imul(this.traceHash, 31) + line.charCodeAt(i)) | 0
    if (this.options.verbose === true) this.traceLines.push(line)
  }

  mapAt(epoch: Epoch): ReturnType<OsdWorld['mapAt']> {
    return this.authority.mapAt(epoch)
  }

  delayMs(): number {
    return this.random.below(30) === 0 ? this.random.below(150) : 0.1 + this.random.fraction()
  }

  private inOrder(channel: string, run: () => void): void {
    const atMs = Math.max(this.queue.nowMs + this.delayMs(), this.channelMs.get(channel) ?? 0)
    this.channelMs.set(channel, atMs)
    this.queue.after(atMs - this.queue.nowMs, run)
  }

  /** Sessions between OSDs are lossless while both run: what a partition holds up arrives after it, in order. */
  send(from: OsdId, to: OsdId, message: PgEnvelope): void {
    if (this.options.verbose === true) this.trace(describeMessage(from, to, message))
    const { type, header, payload } = encodeMessage(message)
    const bytes = new Uint8Array(payload.reduce((sum, chunk) => sum + chunk.length, 0))
    let at = 0
    for (const chunk of payload) {
      bytes.set(chunk, at)
      at += chunk.length
    }
    const sender = this.osd(from)
    const receiver = this.osd(to)
    const incarnations = [sender.incarnation, receiver.incarnation]
    this.plantReply(from, to, message)
    const channel = `${from}>${to}`
    let waiting = this.held.get(channel)
    if (waiting === undefined) {
      waiting = []
      this.held.set(channel, waiting)
    }
    waiting.push(() => {
      if (sender.incarnation !== incarnations[0] || receiver.incarnation !== incarnations[1] || !receiver.running)
        return
      receiver.deliver(from, decodeMessage(type, header, bytes) as PgEnvelope)
    })
    this.inOrder(channel, () => this.deliverHeld(from, to))
  }

  private plantReply(from: OsdId, to: OsdId, sealed: PgEnvelope): void {
    if (this.options.plant !== 'early-replicated') return
    const message = openEnvelope({ ...sealed, payload: [concatBytes(sealed.payload)] })
    if (message.kind !== 'replicate') return
    const answer = envelope(sealed.pgId, sealed.epoch, {
      kind: 'replicated',
      tid: message.tid,
      roomBytes: 0,
    })
    this.queue.after(0.1, () => this.osd(from).running && this.osd(from).deliver(to, answer))
  }

  private deliverHeld(from: OsdId, to: OsdId): void {
    if (this.faults.isCutOff(from) || this.faults.isCutOff(to)) {
      this.queue.after(20, () => this.deliverHeld(from, to))
      return
    }
    this.held.get(`${from}>${to}`)?.shift()?.()
  }

  reply(from: OsdId, session: number, reply: ClientOpReply): void {
    this.checkAnswer(from, session, reply)
    const client = this.clients[Math.floor(session / 1000) - 1]
    if (this.faults.isIsolated(from)) return
    this.inOrder(`${from}>c${session}`, () => client?.onReply(reply))
  }

  /** What is answered as written is missed by nobody who serves, durably. */
  private checkAnswer(from: OsdId, session: number, { errno, request, version }: ClientOpReply): void {
    const object = this.asked.get(`${session} ${request.tid}`)
    if (errno !== 0 || version.version === 0 || object === undefined) return
    const { epoch } = this.osd(from)
    const [missing] = recordKeysOf(setMissing(simulatedPg, [{ object, need: version }]))
    for (const id of placeSimulated(this.mapAt(epoch)).acting) {
      const member = this.osd(id)
      if (!member.running || member.epoch !== epoch || missing === undefined) continue
      if (member.store.hasDurableMeta(missing)) {
        this.earlyAnswers.push(
          `osd.${from} answers ${request.client}:${request.tid} on ${object.name} while osd.${id} misses it`,
        )
      }
    }
  }

  deliverOp(session: number, to: number, op: ClientOp): void {
    const osd = this.osd(osdId(to))
    this.asked.set(`${session} ${op.request.tid}`, op.object)
    this.inOrder(`c${session}>${to}`, () => {
      if (osd.running && !this.faults.isIsolated(to)) osd.deliverOp(session, op)
    })
  }

  requestUpThru(from: OsdId, epoch: Epoch): void {
    this.toMonitors(from, () => this.authority.raiseUpThru(from, epoch))
  }

  requestPgTemp(from: OsdId, osds: readonly OsdId[]): void {
    const { epoch } = this.osd(from)
    this.toMonitors(from, () => {
      // A wish of an earlier interval is void.
      const then = placeSimulated(this.mapAt(epoch))
      if (then.actingPrimary === placeSimulated(this.authority.map).actingPrimary) this.authority.setPgTemp(from, osds)
    })
  }

  publishStats(from: OsdId, stats: PgStats): void {
    if (stats.scrubErrors > 0 && !this.faults.hasRotted) this.broken.push(`osd.${from} found damage that nobody did`)
  }

  /** An interval with too few members for clients is no start: nobody would ask its members later on. */
  onLoaded(osd: OsdId, { lastEpochStarted, history }: PgInfo): void {
    for (const epoch of [lastEpochStarted, history.lastEpochStarted]) {
      if (epoch === 0) continue
      const map = this.mapAt(epoch)
      const { acting } = placeSimulated(map)
      const minSize = [...map.pools.values()][0]?.minSize ?? 0
      if (acting.length < minSize) this.broken.push(`osd.${osd} says that ${acting.length} members started in ${epoch}`)
    }
  }

  onMarkedDown(osd: OsdId): void {
    this.boot(this.osd(osd))
  }

  private toMonitors(from: OsdId, run: () => void): void {
    const osd = this.osd(from)
    const { incarnation } = osd
    this.queue.after(this.delayMs(), () => {
      if (osd.incarnation !== incarnation || !this.faults.hearsMonitors(from)) return
      run()
    })
  }

  private osd(id: OsdId): SimulatedOsd {
    return this.osds[id] as SimulatedOsd
  }

  // Maps

  private publish(): void {
    for (const osd of this.osds ?? []) this.offerMap(osd)
    for (const client of this.clients ?? []) {
      this.queue.after(this.delayMs() * 5, () => {
        if (!this.faults.isStale(client)) client.onMap(this.authority.map)
      })
    }
  }

  private offerMap(osd: SimulatedOsd): void {
    const { incarnation } = osd
    this.queue.after(this.delayMs() * 3, () => {
      if (!osd.running || osd.incarnation !== incarnation) return
      if (!this.faults.hearsMonitors(osd.id)) return
      const { map } = this.authority
      if (map.epoch > osd.epoch) osd.onMap(map, map.epoch)
    })
  }

  private boot(osd: SimulatedOsd): void {
    this.toMonitors(osd.id, () => {
      if (osd.running) this.authority.boot(osd.id, osd.incarnation)
    })
  }

  /** Heartbeats carry leases, and find who is gone. */
  private heartbeat(): void {
    for (const osd of this.osds) {
      if (!osd.running) continue
      for (const peer of this.osds) if (peer !== osd) this.ping(osd, peer)
      this.offerMap(osd)
      const own = this.authority.map.osds.get(osd.id)
      if (own?.up !== true || own.incarnation !== osd.incarnation) this.boot(osd)
    }
    this.queue.after(200, () => this.heartbeat())
  }

  private ping(from: SimulatedOsd, to: SimulatedOsd): void {
    const sentMs = from.nowMs
    const { epoch, incarnation } = from
    const reachable = (): boolean =>
      !this.faults.isCutOff(from.id) && !this.faults.isCutOff(to.id) && from.running && to.running
    this.queue.after(this.delayMs(), () => {
      if (!reachable() || from.incarnation !== incarnation || to.epoch === 0) return
      const seen = this.mapAt(to.epoch).osds.get(from.id)
      if (seen?.up !== true || seen.incarnation !== incarnation) return
      to.leases.onPing(from.id, epoch, to.epoch, to.nowMs)
      const replyEpoch = to.epoch
      this.queue.after(this.delayMs(), () => {
        if (reachable() && from.incarnation === incarnation) from.leases.onReply(to.id, sentMs, epoch, replyEpoch)
      })
    })
  }

  /** Whoever has been gone for long enough is marked down. */
  private watchFailures(): void {
    for (const osd of this.osds) {
      const gone = !osd.running || this.faults.isCutOff(osd.id)
      if (gone && this.authority.map.osds.get(osd.id)?.up === true) {
        this.queue.after(detectionMs * (0.5 + this.random.fraction()), () => {
          if (!osd.running || this.faults.isCutOff(osd.id)) this.authority.markDown(osd.id)
        })
      }
    }
    this.queue.after(300, () => this.watchFailures())
  }

  restart(osd: SimulatedOsd): void {
    if (osd.running) return
    osd.start()
    this.trace(`osd.${osd.id} starts`)
    this.offerMap(osd)
    this.boot(osd)
  }

  get isClean(): boolean {
    const primary = this.osds[placeSimulated(this.authority.map).actingPrimary]
    const states = primary?.stats?.states ?? []
    return (
      primary?.running === true &&
      primary.epoch === this.authority.map.epoch &&
      primary.stats?.reportedEpoch === this.authority.map.epoch &&
      states.includes('active') &&
      states.includes('clean')
    )
  }

  /** Every OSD runs, is known to, and has what it should have. */
  get isWhole(): boolean {
    const { map } = this.authority
    const present = this.osds.every((osd) => {
      const info = map.osds.get(osd.id)
      return osd.running && !this.faults.isCutOff(osd.id) && info?.up === true && info.incarnation === osd.incarnation
    })
    return present && this.isClean
  }

  // The run

  private runUntil(timeMs: number, done: () => boolean = () => false): boolean {
    while (this.queue.nowMs < timeMs) {
      if (done()) return true
      if (!this.queue.step()) return done()
    }
    return done()
  }

  run(): SimulationResult {
    const problems: string[] = []
    try {
      this.runAll(problems)
    } catch (error) {
      problems.push(`threw at ${this.queue.nowMs.toFixed(2)}: ${error instanceof Error ? error.stack : String(error)}`)
    }
    return {
      problems,
      operations: this.history.filter((entry) => entry.endedAt !== undefined).length,
      traceHash: this.traceHash,
      epochs: this.authority.map.epoch,
      queries: problems.length > 0 ? this.osds.map((osd) => osd.query()) : [],
      trace: this.traceLines,
    }
  }

  private runAll(problems: string[]): void {
    for (const osd of this.osds) {
      osd.start()
      this.offerMap(osd)
    }
    this.publish()
    this.heartbeat()
    this.watchFailures()
    for (const client of this.clients) this.queue.after(1 + this.random.fraction() * 100, () => client.begin())
    this.queue.after(1_000, () => this.faults.strike())
    this.runUntil(1_000 + (this.options.faultsMs ?? 12_000))
    this.faults.heal()
    this.runUntil(this.queue.nowMs + 2_000)
    for (const client of this.clients) client.stop()
    const settled = (): boolean => this.isClean && this.clients.every((client) => client.idle)
    if (!this.runUntil(this.queue.nowMs + 60_000, settled)) {
      problems.push(
        `not clean 60 s after faults stopped: ${this.osds.map((osd) => osd.stats?.states.join('+')).join(', ')}`,
      )
      for (const client of this.clients) {
        for (const { object, intent, beganAt } of client.waitingFor) {
          problems.push(`client.${client.id} waits for ${intent.kind} ${object} since ${beganAt}`)
        }
      }
      return
    }
    if (!this.scrubAll()) {
      problems.push(`the last scrub has not ended: ${this.osds.map((osd) => osd.stats?.states.join('+')).join(', ')}`)
      return
    }
    this.finalReads()
    if (!this.runUntil(this.queue.nowMs + 20_000, () => this.clients.every((client) => client.idle))) {
      problems.push('final reads do not end')
      return
    }
    problems.push(...this.earlyAnswers, ...this.broken)
    this.checkCopies(problems)
    const final = new Map<string, string>()
    for (const { object, intent, errno, data } of this.history.slice(-objectNames.length)) {
      if (intent.kind === 'read' && errno === 0) final.set(object, data)
    }
    problems.push(...checkHistory(this.history, final))
  }

  /** Everything is read, and what is bad is mended. */
  private scrubAll(): boolean {
    const beganMs = this.queue.nowMs
    for (const osd of this.osds) osd.scrub('deep-scrub')
    const over = (): boolean => {
      const stats = this.osds[placeSimulated(this.authority.map).actingPrimary]?.stats
      return (
        this.isClean &&
        (stats?.lastDeepScrubMs ?? 0) > beganMs &&
        stats?.states.length === 2 &&
        stats.scrubErrors === 0 &&
        this.osds.every((osd) => osd.heldSlots().length === 0)
      )
    }
    return this.runUntil(beganMs + 240_000, over)
  }

  private finalReads(): void {
    const [client] = this.clients
    for (const name of objectNames) client?.start(name, { kind: 'read' })
  }

  private checkCopies(problems: string[]): void {
    for (const osd of this.osds) {
      for (const slot of osd.heldSlots()) problems.push(`osd.${osd.id} still holds or waits for a slot: ${slot}`)
    }
    const { acting } = placeSimulated(this.authority.map)
    const [first, ...others] = acting.map((osd) => this.osd(osd))
    const expected = first?.store.fingerprint() ?? []
    for (const line of expected) if (line.endsWith(' BAD')) problems.push(`scrub has missed ${line.slice(0, 60)}`)
    for (const other of others) {
      const found = other.store.fingerprint()
      for (const line of new Set([...expected, ...found])) {
        if (expected.includes(line) !== found.includes(line)) {
          problems.push(`osd.${other.id} and osd.${first?.id} differ: ${line.slice(0, 120)}`)
        }
      }
    }
  }
}
