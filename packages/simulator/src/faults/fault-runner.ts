/** Lets the faults of a scenario strike when their time comes, and in the end undoes them all. */
import { isClusterError, must } from '@shoal/base'
import type { SimCluster } from '../cluster/sim-cluster.ts'
import type { FaultEvent } from '../scenario/scenario.ts'
import type { FaultContext } from './fault.ts'
import { FaultBudget } from './fault-budget.ts'
import { findFault } from './fault-table.ts'
import { replaceDisk } from './operations.ts'

const backgroundWithinMs = 900_000
/** Longer than the pause after a start that failed. */
const startsWithinMs = 20_000

export class FaultRunner {
  readonly injected: Map<string, number> = new Map<string, number>()
  skipped = 0
  readonly budget: FaultBudget
  private readonly cluster: SimCluster
  private readonly context: FaultContext
  private readonly active = new Set<() => void>()
  private readonly background = new Set<string>()
  private over = false

  constructor(cluster: SimCluster) {
    this.cluster = cluster
    this.budget = new FaultBudget(cluster.scenario)
    this.context = {
      cluster,
      budget: this.budget,
      background: (what, work) => this.runInBackground(what, work),
    }
  }

  start(events: readonly FaultEvent[]): void {
    for (const event of events) this.cluster.time.schedule(event.atMs, undefined, () => this.strike(event))
  }

  /** Ends every fault, starts every daemon, and waits until operators have done what they began. */
  async heal(): Promise<void> {
    const { cluster } = this
    this.over = true
    cluster.logs.add('info', 'simulator', 'healing')
    for (const undo of [...this.active]) undo()
    cluster.network.faults.resetProbability = 0
    cluster.network.heal()
    for (const node of [...cluster.daemons, ...cluster.clients]) {
      node.machine.resume()
      node.machine.fault = undefined
      node.machine.extraIoDelayMs = 0
      // What was noted by a wrong clock is looked at by a right one.
      node.machine.setClock({ ...node.machine.clock, wallOffsetMs: 0 })
      node.machine.disk.mangle = undefined
    }
    for (const node of cluster.daemons) {
      // What the next start says counts: a store may have been replaced since.
      node.startError = undefined
      node.start()
    }
    await cluster.time.advance(startsWithinMs)
    for (const osd of cluster.osds) {
      // It says so, and stays away: somebody has to look.
      if (!this.budget.isSpoiled(osd.name) || !isClusterError(osd.startError, 'ECHECKSUM')) continue
      this.runInBackground(`${osd.name} new disk, for the old one is damaged`, () => replaceDisk(cluster, osd))
    }
    await cluster.time
      .until(() => this.background.size === 0, backgroundWithinMs)
      .catch(() => {
        throw new Error(`operators wait for ever: ${[...this.background].join(', ')}`)
      })
    for (const node of cluster.daemons) node.start()
  }

  allowedWarnings(always: ReadonlySet<string>): ReadonlySet<string> {
    return always
  }

  private strike(event: FaultEvent): void {
    if (this.over) return
    const { cluster } = this
    const fault = must(findFault(event.kind), `a fault of kind ${event.kind}`)
    const undo = fault.strike(this.context, event.params)
    if (undo === undefined) {
      this.skipped++
      return
    }
    this.injected.set(event.kind, (this.injected.get(event.kind) ?? 0) + 1)
    cluster.logs.add('info', 'fault', event.kind, { ...event.params, durationMs: event.durationMs })
    const once = (): void => {
      if (!this.active.delete(once)) return
      cluster.logs.add('info', 'fault', `${event.kind} ends`, event.params)
      undo()
    }
    this.active.add(once)
    if (event.durationMs !== undefined) cluster.time.schedule(event.durationMs, undefined, once)
  }

  private runInBackground(what: string, work: () => Promise<void>): void {
    const { cluster, background } = this
    background.add(what)
    work().then(
      () => {
        background.delete(what)
      },
      (error: unknown) => {
        background.delete(what)
        cluster.logs.add('warn', 'operator', `${what} failed`, { error })
      },
    )
  }
}
