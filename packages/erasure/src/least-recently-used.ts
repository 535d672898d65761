/** A bounded map that forgets what was not asked for longest. A `Map` keeps the order in which keys were set. */
export class LeastRecentlyUsed<Key, Value> {
  private readonly entriesMax: number
  private readonly entries = new Map<Key, Value>()

  constructor(entriesMax: number) {
    this.entriesMax = entriesMax
  }

  get size(): number {
    return this.entries.size
  }

  get(key: Key): Value | undefined {
    const value = this.entries.get(key)
    if (value === undefined) return undefined
    this.entries.delete(key)
    this.entries.set(key, value)
    return value
  }

  set(key: Key, value: Value): void {
    this.entries.set(key, value)
    if (this.entries.size <= this.entriesMax) return
    for (const oldest of this.entries.keys()) {
      this.entries.delete(oldest)
      return
    }
  }
}
