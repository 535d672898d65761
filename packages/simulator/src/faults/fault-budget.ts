/**
 * What may go wrong so that every promise can still be kept.
 *
 * With copies acknowledged on at least `min_size` OSDs, `min_size - 1` stores may lose or spoil what they hold; of shards
 * it takes k to read, so that `min_size - k` may. A store
 * that was lost counts until every placement group is clean again; one that rots counts for good, for nothing reads all
 * of it. Time, power, processes and the network need no budget: what is on stable storage outlasts them all.
 *
 * A monitor may lose its disk while the others are a majority without it, and none of them is being replaced.
 */
import type { Scenario } from '../scenario/scenario.ts'

export class FaultBudget {
  private readonly unlimited: boolean
  private readonly storesMax: number
  private readonly spoiled = new Set<string>()
  private readonly monitorsReplaced = new Set<string>()
  private operatorBusy = false

  constructor(scenario: Scenario) {
    this.unlimited = scenario.mode === 'beyond'
    this.storesMax = Math.min(...scenario.pools.map(({ minSize, erasure }) => minSize - (erasure?.k ?? 1)))
  }

  /** Whether what this store holds may be damaged now. */
  spoil(store: string): boolean {
    if (this.unlimited) this.spoiled.add(store)
    if (this.spoiled.has(store)) return true
    if (this.spoiled.size >= this.storesMax) return false
    this.spoiled.add(store)
    return true
  }

  get spoiledStores(): ReadonlySet<string> {
    return this.spoiled
  }

  /** The store was replaced and filled again from others. */
  restored(store: string): void {
    this.spoiled.delete(store)
  }

  replaceMonitor(name: string): boolean {
    if (this.monitorsReplaced.size > 0) return false
    this.monitorsReplaced.add(name)
    return true
  }

  monitorReplaced(name: string): void {
    this.monitorsReplaced.delete(name)
  }

  /** An operator does one large thing after the other. */
  beginOperation(): boolean {
    if (this.operatorBusy) return false
    this.operatorBusy = true
    return true
  }

  endOperation(): void {
    this.operatorBusy = false
  }
}
