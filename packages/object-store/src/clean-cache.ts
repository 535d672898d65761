/**
 * A cache of values that can be fetched again, bounded by bytes, with second-chance eviction (a hit costs one flag
 * instead of a reordering).
 */
interface Slot<V> {
  readonly value: V
  readonly bytes: number
  used: boolean
}

export class CleanCache<K, V> {
  private readonly slots = new Map<K, Slot<V>>()
  private readonly bytesMax: number
  bytes = 0
  hits = 0
  misses = 0

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get(key: K): V | undefined {
    const slot = this.slots.get(key)
    if (slot === undefined) {
      this.misses++
      return undefined
    }
    slot.used = true
    this.hits++
    return slot.value
  }

  set(key: K, value: V, bytes: number): void {
    this.delete(key)
    this.slots.set(key, { value, bytes, used: false })
    this.bytes += bytes
    if (this.bytes > this.bytesMax) this.evict()
  }

  delete(key: K): void {
    const slot = this.slots.get(key)
    if (slot === undefined) return
    this.bytes -= slot.bytes
    this.slots.delete(key)
  }

  private evict(): void {
    for (const [key, slot] of this.slots) {
      if (this.bytes <= this.bytesMax) return
      this.slots.delete(key)
      if (slot.used) {
        slot.used = false
        this.slots.set(key, slot)
      } else {
        this.bytes -= slot.bytes
      }
    }
  }
}
