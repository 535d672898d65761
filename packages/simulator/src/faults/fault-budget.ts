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
  /** Until they are filled again. */
  private readonly lost = new Set<string>()
  /** For good. */
  private readonly rotten = new Set<string>()
  private readonly monitorsReplaced = new Set<string>()
  private operatorBusy = false

  constructor(scenario: Scenario) {
    this.unlimited = scenario.mode === 'beyond'
    this.storesMax = Math.min(...scenario.pools.map(({ minSize, erasure }) => minSize - (erasure?.k ?? 1)))
  }

  /** Whether what this store holds may be damaged now; also what lies on a new disk that is not filled yet. */
  rot(store: string): boolean {
    if (!this.mayFail(store)) return false
    this.rotten.add(store)
    return true
  }

  /** Whether this store may be lost now, with its disk. */
  lose(store: string): boolean {
    if (this.isSpoiled(store) || !this.mayFail(store)) return false
    this.lost.add(store)
    return true
  }

  isSpoiled(store: string): boolean {
    return this.lost.has(store) || this.rotten.has(store)
  }

  /** The store was replaced and filled again from others. What rotted since counts on. */
  restored(store: string): void {
    this.lost.delete(store)
  }

  private mayFail(store: string): boolean {
    return this.unlimited || this.isSpoiled(store) || new Set([...this.lost, ...this.rotten]).size < this.storesMax
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
