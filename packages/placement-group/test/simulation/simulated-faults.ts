/**
 * What goes wrong in a simulation, and its end: crashes that lose what was not synced, restarts, partitions of one OSD (from
 * peers, clients or monitors), false reports of failure, OSDs marked out and in, a lost store, bad blocks.
 */
import type { Prng } from '@shoal/base'
import { type ScrubRequest, scrubRequests } from '@shoal/placement-group'
import type { EventQueue } from './event-queue.ts'
import type { MapAuthority } from './map-authority.ts'
import { type SimulatedClient, simulatedObject } from './simulated-client.ts'
import type { SimulatedOsd } from './simulated-osd.ts'

const faults = [
  'crash',
  'power-loss',
  'isolate',
  'apart',
  'cut-off-monitors',
  'false-report',
  'out',
  'wipe',
  'rot',
  'scrub',
] as const
export type Fault = (typeof faults)[number]
const faultsWithoutRot = faults.filter((kind) => kind !== 'rot')
/** A bad block and the loss of the other copies at once is more than two faults: nobody survives that. */
const faultsWithRot: readonly Fault[] = ['rot', 'rot', 'false-report', 'cut-off-monitors', 'scrub']

export interface FaultOptions {
  readonly seed: number
  /** Which faults may happen. */
  readonly faults?: readonly Fault[]
}

/** What faults strike. */
export interface FaultyWorld {
  readonly queue: EventQueue
  readonly random: Prng
  readonly authority: MapAuthority
  readonly osds: readonly SimulatedOsd[]
  readonly clients: readonly SimulatedClient[]
  /** Every OSD runs, is known to, and has what it should have. */
  readonly isWhole: boolean
  readonly objectNames: readonly string[]
  trace(text: string): void
  delayMs(): number
  restart(osd: SimulatedOsd): void
}

export class SimulatedFaults {
  private readonly world: FaultyWorld
  private readonly options: FaultOptions
  /** Cut off from everybody. */
  private readonly isolated = new Set<number>()
  private readonly withoutMonitors = new Set<number>()
  /** Cut off from peers and monitors, not from clients. */
  private readonly apart = new Set<number>()
  /** Clients that get no maps. */
  private readonly staleClients = new Set<number>()
  private healing = false
  private rotted = false

  constructor(world: FaultyWorld, options: FaultOptions) {
    this.world = world
    this.options = options
  }

  /** Nothing goes wrong any more. */
  get isOver(): boolean {
    return this.healing
  }

  /** Some block was made bad. */
  get hasRotted(): boolean {
    return this.rotted
  }

  /** From clients, too. */
  isIsolated(id: number): boolean {
    return this.isolated.has(id)
  }

  /** From its peers. */
  isCutOff(id: number): boolean {
    return this.isolated.has(id) || this.apart.has(id)
  }

  hearsMonitors(id: number): boolean {
    return !this.isCutOff(id) && !this.withoutMonitors.has(id)
  }

  isStale(client: SimulatedClient): boolean {
    return this.staleClients.has(client.id)
  }

  /** One, and the next after a while, until they are over. */
  strike(): void {
    if (this.healing) return
    const kinds = this.options.faults ?? (this.options.seed % 4 === 0 ? faultsWithRot : faultsWithoutRot)
    const osd = this.world.osds[this.world.random.below(this.world.osds.length)] as SimulatedOsd
    const kind = kinds[this.world.random.below(kinds.length)] as Fault
    this.inject(kind, osd)
    this.world.queue.after(this.world.random.fraction() * 1_500, () => this.strike())
  }

  private inject(kind: Fault, osd: SimulatedOsd): void {
    const { random, queue } = this.world
    const laterMs = 100 + random.fraction() * (random.below(3) === 0 ? 6_000 : 1_500)
    this.world.trace(`fault ${kind} osd.${osd.id} for ${laterMs.toFixed(0)}`)
    switch (kind) {
      case 'crash':
        this.crash(osd)
        queue.after(laterMs, () => this.world.restart(osd))
        return
      case 'isolate':
        this.isolated.add(osd.id)
        queue.after(laterMs, () => this.isolated.delete(osd.id))
        return
      case 'power-loss':
        for (const each of this.world.osds) {
          this.crash(each)
          queue.after(random.fraction() * 1_000, () => this.world.restart(each))
        }
        return
      case 'apart': {
        const client = this.world.clients[random.below(this.world.clients.length)] as SimulatedClient
        this.apart.add(osd.id)
        this.staleClients.add(client.id)
        client.onlyReads = true
        queue.after(laterMs, () => {
          this.apart.delete(osd.id)
          this.staleClients.delete(client.id)
          client.onlyReads = false
          client.onMap(this.world.authority.map)
        })
        return
      }
      case 'cut-off-monitors':
        this.withoutMonitors.add(osd.id)
        queue.after(laterMs, () => this.withoutMonitors.delete(osd.id))
        return
      case 'false-report':
        this.world.authority.markDown(osd.id)
        return
      case 'out':
        this.world.authority.setWeight(osd.id, 0)
        queue.after(laterMs, () => this.world.authority.setWeight(osd.id, 0x1_0000))
        return
      case 'wipe':
        // Only where every other copy is whole: losing the last copies is not survivable by anybody.
        if (!this.world.isWhole) return
        this.crash(osd)
        osd.store.wipe()
        queue.after(laterMs, () => this.world.restart(osd))
        return
      case 'rot':
        return this.rot(osd)
      case 'scrub': {
        const what = scrubRequests[random.below(scrubRequests.length)] as ScrubRequest
        for (const each of this.world.osds) each.scrub(what)
        return
      }
    }
  }

  private crash(osd: SimulatedOsd): void {
    if (!osd.running) return
    osd.crash(this.world.random.below(osd.store.unsynced + 1))
    for (const client of this.world.clients) {
      this.world.queue.after(this.world.delayMs(), () => client.onSessionLost(osd.id))
    }
    for (const client of this.world.clients)
      for (const other of this.world.osds) other.closeSession(client.sessionWith(osd.id))
  }

  private rot(osd: SimulatedOsd): void {
    if (!this.world.isWhole) return
    const name = this.world.objectNames[this.world.random.below(this.world.objectNames.length)] as string
    const id = simulatedObject(name)
    if (this.world.osds.some((other) => other.store.find(id)?.bad === true)) return
    osd.store.corrupt(id)
    this.rotted = true
  }

  heal(): void {
    this.healing = true
    this.world.trace('heal')
    this.staleClients.clear()
    for (const client of this.world.clients) client.onMap(this.world.authority.map)
    for (const osd of this.world.osds) {
      this.isolated.delete(osd.id)
      this.apart.delete(osd.id)
      this.withoutMonitors.delete(osd.id)
      this.world.authority.setWeight(osd.id, 0x1_0000)
      this.world.restart(osd)
    }
  }
}
