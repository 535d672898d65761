/** One OSD that holds one placement group: drives the machine as the OSD daemon does, over a store that can lose power. */
import {
  ClusterError,
  type Epoch,
  errorTable,
  isClusterError,
  type OsdId,
  type Prng,
  epoch as toEpoch,
} from '@shoal/base'
import type { OsdMap, PgStats } from '@shoal/cluster-map'
import {
  decodeObjectAttribute,
  defaultPgSettings,
  loadPgState,
  type PgEffect,
  type PgInput,
  type PgSettings,
  type PgSpace,
  type PgTimer,
  PlacementGroup,
  pgRecordRange,
  Reserver,
  type ScrubRequest,
} from '@shoal/placement-group'
import type { ClientOp, ClientOpReply, PgEnvelope } from '@shoal/wire'
import type { PgInfo } from '../../src/pg-info.ts'
import type { Cancellable, EventQueue } from './event-queue.ts'
import { nowhere, placeSimulated, simulatedPg } from './map-authority.ts'
import { MemoryStore } from './memory-store.ts'
import type { Plant } from './simulated-cluster.ts'
import { EternalLeases, leaseMs, SimulatedLeases } from './simulated-leases.ts'

/** What the world does for an OSD. */

export interface OsdWorld {
  readonly queue: EventQueue
  readonly random: Prng
  send(from: OsdId, to: OsdId, message: PgEnvelope): void
  reply(from: OsdId, session: number, reply: ClientOpReply): void
  requestUpThru(from: OsdId, epoch: Epoch): void
  requestPgTemp(from: OsdId, osds: readonly OsdId[]): void
  publishStats(from: OsdId, stats: PgStats): void
  mapAt(epoch: Epoch): OsdMap
  /** Faults are over. */
  readonly isQuiet: boolean
  /** The map shows this run as down. */
  onMarkedDown(osd: OsdId): void
  /** What a machine finds on its disk when it starts. */
  onLoaded(osd: OsdId, info: PgInfo): void
  trace(text: string): void
}

const defaultSettings: PgSettings = {
  ...defaultPgSettings,
  logEntriesMin: 80,
  logEntriesMax: 120,
  pieceBytesMax: 64,
  scanObjects: 4,
  scrub: { ...defaultPgSettings.scrub, chunkObjectsMax: 3, chunkObjectsMin: 1, sleepMs: 20, chunkTimeoutMs: 400 },
}

export class SimulatedOsd {
  readonly id: OsdId
  readonly store = new MemoryStore()
  incarnation = 1
  running = false
  stats: PgStats | undefined
  leases = new SimulatedLeases(Number.NEGATIVE_INFINITY)
  epoch = toEpoch(0)
  localReserver = new Reserver(1)
  remoteReserver = new Reserver(1)
  private readonly world: OsdWorld
  private readonly plant: Plant | undefined
  private readonly settings: PgSettings
  private machine: PlacementGroup | undefined
  /** Newest map that the machine has seen. */
  private machineEpoch = toEpoch(0)
  private knownEpoch = toEpoch(0)
  private early: { readonly epoch: Epoch; readonly run: () => void }[] = []
  private readonly timers = new Map<PgTimer, Cancellable>()
  private inputs: PgInput[] = []
  private stepping = false
  private clockSkewMs = 0

  constructor(id: OsdId, world: OsdWorld, plant?: Plant, settings?: Partial<PgSettings>) {
    this.id = id
    this.world = world
    this.plant = plant
    this.settings = { ...defaultSettings, ...settings }
  }

  /** Monotonic, of this run. */
  get nowMs(): number {
    return this.world.queue.nowMs + this.clockSkewMs
  }

  start(): void {
    const { random } = this.world
    this.running = true
    this.localReserver = new Reserver(1)
    this.remoteReserver = new Reserver(1)
    this.compete(this.incarnation)
    this.clockSkewMs = random.below(1_000_000)
    const served = this.store.hasCollection
    this.leases = new SimulatedLeases(served ? this.nowMs + leaseMs : Number.NEGATIVE_INFINITY)
    if (this.plant === 'eternal-lease') this.leases = new EternalLeases(0)
    if (served) this.loadMachine()
    this.epoch = this.machine === undefined ? toEpoch(0) : this.machineEpoch
    this.knownEpoch = this.epoch
  }

  private loadMachine(): void {
    const stored = loadPgState(this.store.metaEntries(pgRecordRange.from, pgRecordRange.to))
    if (stored !== undefined) this.world.onLoaded(this.id, stored.record.info)
    this.machine = this.create(stored)
    this.machineEpoch = stored?.record.interval.mapEpoch ?? toEpoch(0)
  }

  /** Other placement groups want the slots, too: more and less urgent ones, for a while each. */
  private compete(incarnation: number): void {
    const { queue, random } = this.world
    if (this.incarnation !== incarnation || this.world.isQuiet) return
    const reserver = random.below(2) === 0 ? this.localReserver : this.remoteReserver
    const key = `other ${random.below(3)}`
    reserver.request(key, random.below(260), { onGranted: () => undefined, onPreempted: () => undefined })
    queue.after(random.fraction() * 300, () => reserver.release(key))
    queue.after(random.fraction() * 600, () => this.compete(incarnation))
  }

  /** What nobody may hold any more once the placement group is clean. */
  heldSlots(): readonly string[] {
    return [this.localReserver, this.remoteReserver].flatMap((reserver) => {
      const { granted, waiting } = reserver.summary()
      return [...granted, ...waiting].filter((key) => !key.startsWith('other'))
    })
  }

  /** Full now and then. */
  private space(): PgSpace {
    const { world } = this
    const oneIn = (count: number): boolean => !world.isQuiet && world.random.below(count) === 0
    return {
      admits: () => true,
      hasRoomFor: () => !oneIn(40),
      get isBackfillFull() {
        return oneIn(10)
      },
      roomBytes: Number.POSITIVE_INFINITY,
      onRoom: () => undefined,
    }
  }

  private create(stored: ReturnType<typeof loadPgState>): PlacementGroup {
    return new PlacementGroup({
      pgId: simulatedPg,
      whoami: this.id,
      settings: this.settings,
      leases: this.leases,
      space: this.space(),
      clock: { monotonicMs: () => this.nowMs, wallMs: () => this.world.queue.nowMs },
      stored,
    })
  }

  /** `keep`: how many of the transactions that are not durable survive. */
  crash(keep: number): void {
    this.running = false
    this.incarnation++
    this.machine = undefined
    this.machineEpoch = toEpoch(0)
    this.inputs = []
    this.early = []
    for (const timer of this.timers.values()) timer.cancelled = true
    this.timers.clear()
    const lost = this.store.loseAllBut(keep)
    this.world.trace(`osd.${this.id} crashes, loses ${lost}`)
  }

  /** An operator asks this OSD, which may not be the primary. */
  scrub(what: ScrubRequest): void {
    if (this.machine !== undefined && this.epoch > 0) this.feed({ kind: 'scrub', what })
  }

  query(): unknown {
    return this.machine?.query()
  }

  get hasMachine(): boolean {
    return this.machine !== undefined
  }

  // Maps

  onMap(map: OsdMap, newest: Epoch): void {
    this.knownEpoch = newest
    if (map.epoch <= this.epoch) return
    const before = this.epoch
    for (let at = before + 1; at <= map.epoch; at++) this.onEachMap(this.world.mapAt(toEpoch(at)))
    if (this.epoch === this.knownEpoch) this.feed({ kind: 'activate-map' })
    const ready = this.early.filter((one) => one.epoch <= this.epoch)
    this.early = this.early.filter((one) => one.epoch > this.epoch)
    for (const { run } of ready) run()
    const own = map.osds.get(this.id)
    if (own !== undefined && (!own.up || own.incarnation !== this.incarnation)) this.world.onMarkedDown(this.id)
  }

  private onEachMap(map: OsdMap): void {
    this.epoch = map.epoch
    const mapping = map.pools.size === 0 ? nowhere : placeSimulated(map)
    if (this.machine === undefined && [...mapping.up, ...mapping.acting].includes(this.id)) {
      this.machine = this.create(undefined)
    }
    if (this.machine === undefined || map.epoch <= this.machineEpoch) return
    this.machineEpoch = map.epoch
    this.feed({ kind: 'map', map: this.plant === 'forged-up-thru' ? forgeUpThru(map, this.id) : map, mapping })
  }

  private whenMapIsThere(epoch: Epoch, run: () => void): void {
    if (epoch <= this.epoch) run()
    else this.early.push({ epoch, run })
  }

  // Messages

  deliver(from: OsdId, message: PgEnvelope): void {
    this.whenMapIsThere(message.epoch, () => {
      if (this.machine === undefined) {
        this.machine = this.create(undefined)
        this.machineEpoch = this.epoch
        const map = this.world.mapAt(this.epoch)
        this.feed({ kind: 'map', map, mapping: placeSimulated(map) })
        this.feed({ kind: 'activate-map' })
      }
      this.feed({ kind: 'message', from, message })
    })
  }

  deliverOp(session: number, op: ClientOp): void {
    this.whenMapIsThere(op.epoch, () => {
      if (this.machine !== undefined && placeSimulated(this.world.mapAt(this.epoch)).actingPrimary === this.id) {
        this.feed({ kind: 'client-op', session, op })
      }
    })
  }

  closeSession(session: number): void {
    this.feed({ kind: 'session-closed', session })
  }

  // The machine

  private feed(input: PgInput): void {
    if (!this.running || this.machine === undefined) return
    this.inputs.push(input)
    if (this.stepping) return
    this.stepping = true
    while (this.inputs.length > 0) {
      const next = this.inputs.shift() as PgInput
      if (this.machine === undefined) break
      for (const effect of this.machine.step(next)) this.run(effect)
    }
    this.inputs = []
    this.stepping = false
  }

  private later(delayMs: number, input: () => PgInput): Cancellable {
    const { incarnation, machine } = this
    return this.world.queue.after(delayMs, () => {
      if (this.running && this.incarnation === incarnation && this.machine === machine) this.feed(input())
    })
  }

  private diskDelayMs(): number {
    const { random } = this.world
    return random.below(20) === 0 ? random.below(200) : random.fraction() * 3
  }

  private lastCommitMs = 0

  private run(effect: PgEffect): void {
    const { world, store } = this
    switch (effect.kind) {
      case 'send':
        if (effect.message.type !== 'pg') throw new Error(`unexpected message ${effect.message.type}`)
        return world.send(this.id, effect.to, effect.message)
      case 'reply':
        return world.reply(this.id, effect.session, effect.reply)
      case 'transact': {
        store.submit(effect.transaction)
        const { incarnation } = this
        const { token } = effect
        const machine = this.machine
        // Commits come in order.
        if (this.plant === 'lying-disk') this.later(0.1, () => ({ kind: 'committed', token }))
        const delayMs = this.plant === 'lying-disk' ? 300 : this.diskDelayMs()
        this.lastCommitMs = Math.max(this.lastCommitMs, world.queue.nowMs + delayMs)
        world.queue.after(this.lastCommitMs - world.queue.nowMs, () => {
          if (!this.running || this.incarnation !== incarnation) return
          store.commitNext()
          if (this.plant !== 'lying-disk' && this.machine === machine) this.feed({ kind: 'committed', token })
        })
        return
      }
      case 'load': {
        // Loads see the state of the moment in which they are asked for.
        const answer = this.attempt(() => ({
          kind: 'loaded' as const,
          token: effect.token,
          state: store.load(effect.request),
        }))
        this.later(this.diskDelayMs(), () =>
          answer instanceof ClusterError
            ? { kind: 'load-failed', token: effect.token, errno: answer.errno, detail: answer.message }
            : answer,
        )
        return
      }
      case 'set-timer': {
        this.cancelTimer(effect.timer)
        const { timer } = effect
        this.timers.set(
          timer,
          this.later(effect.delayMs, () => ({ kind: 'timer', timer })),
        )
        return
      }
      case 'cancel-timer':
        return this.cancelTimer(effect.timer)
      case 'admit':
        this.later(this.diskDelayMs(), () => ({ kind: 'admitted', token: effect.token }))
        return
      case 'request-up-thru':
        return world.requestUpThru(this.id, effect.epoch)
      case 'request-pg-temp':
        return world.requestPgTemp(this.id, effect.osds)
      case 'reserve': {
        const { slot, priority, round } = effect
        this.reserverOf(slot).request(slot, priority, {
          onGranted: () => this.feed({ kind: 'reservation-granted', slot, round }),
          onPreempted: () => this.feed({ kind: 'reservation-revoked', slot, round }),
        })
        return
      }
      case 'release':
        return this.reserverOf(effect.slot).release(effect.slot)
      case 'publish-stats':
        this.stats = effect.stats
        return world.publishStats(this.id, effect.stats)
      case 'removed':
        world.trace(`osd.${this.id} removed its copy`)
        this.machine = undefined
        this.machineEpoch = toEpoch(0)
        for (const slot of this.heldSlots()) this.reserverOf(slot).release(slot)
        for (const timer of this.timers.keys()) this.cancelTimer(timer)
        return this.recreateIfPlacedHere()
      // Pools have no quotas here, and no operators.
      case 'ask-quota':
      case 'operator-answer':
      case 'count':
      case 'mark':
      case 'park':
      case 'spent':
      case 'give-back':
      case 'watch-event':
        return
      case 'log':
        return world.trace(`osd.${this.id} ${effect.level}: ${effect.message}`)
      default:
        return this.runRead(effect)
    }
  }

  private reserverOf(slot: string): Reserver {
    return slot.startsWith('local') ? this.localReserver : this.remoteReserver
  }

  private runRead(
    effect: Extract<PgEffect, { kind: 'execute-read' | 'read-piece' | 'scan' | 'examine' | 'list-records' }>,
  ): void {
    const { store } = this
    const { token } = effect
    const delayMs = this.diskDelayMs()
    if (effect.kind === 'scan') {
      const page = store.scan(effect.after, effect.limit)
      this.later(delayMs, () => ({ kind: 'scanned', token, ...page }))
    } else if (effect.kind === 'examine') {
      // Whichever moment it is: the machine must let no write in between.
      this.later(delayMs, () => ({
        kind: 'examined',
        token,
        errno: 0,
        damagedRecords: [],
        ...store.examine(effect.range),
      }))
    } else if (effect.kind === 'list-records') {
      const keys = store.metaEntries(effect.from, effect.to).map(({ key }) => key)
      const more = keys.length > effect.limit
      this.later(delayMs, () => ({ kind: 'records-listed', token, keys: keys.slice(0, effect.limit), more }))
    } else if (effect.kind === 'read-piece') {
      const piece = this.attempt(() =>
        store.piece(effect.object, effect.offset, effect.lengthMax, effect.omapAfter, effect.omapEntriesMax),
      )
      this.later(delayMs, () =>
        piece instanceof ClusterError
          ? { kind: 'piece-read', token, errno: piece.errno, piece: undefined }
          : { kind: 'piece-read', token, errno: piece === undefined ? errorTable.ENOENT.errno : 0, piece },
      )
    } else {
      // Whichever moment of the execution the store shows: the machine must let no write in between.
      this.later(delayMs, () => {
        const results = this.attempt(() =>
          store.read(effect.object, effect.ops, (attribute) => decodeObjectAttribute(attribute).userVersion),
        )
        return results instanceof ClusterError
          ? { kind: 'read-done', token, errno: results.errno, detail: results.message, results: [] }
          : { kind: 'read-done', token, errno: 0, detail: '', results }
      })
    }
  }

  private recreateIfPlacedHere(): void {
    const map = this.world.mapAt(this.epoch)
    const mapping = placeSimulated(map)
    if (![...mapping.up, ...mapping.acting].includes(this.id)) return
    this.machine = this.create(undefined)
    this.machineEpoch = this.epoch
    this.inputs = [{ kind: 'map', map, mapping }, { kind: 'activate-map' }]
  }

  private cancelTimer(timer: PgTimer): void {
    const handle = this.timers.get(timer)
    if (handle !== undefined) handle.cancelled = true
    this.timers.delete(timer)
  }

  private attempt<T>(read: () => T): T | ClusterError {
    try {
      return read()
    } catch (error) {
      if (isClusterError(error)) return error
      throw error
    }
  }
}

function forgeUpThru(map: OsdMap, id: OsdId): OsdMap {
  const own = map.osds.get(id)
  return own === undefined ? map : { ...map, osds: new Map(map.osds).set(id, { ...own, upThru: map.epoch }) }
}
