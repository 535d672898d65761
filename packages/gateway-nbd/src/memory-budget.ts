/**
 * The payload that all connections together may have in progress: each of them may take its share, all of them at once may
 * not. Whoever has nothing in progress may always begin one request, so that nobody waits for ever.
 */
export class MemoryBudget {
  bytesMax: number
  /** Called when the budget is no longer spent: who stopped reading may go on. */
  readonly onFree: () => void
  private bytes = 0

  constructor(bytesMax: number, onFree: () => void) {
    this.bytesMax = bytesMax
    this.onFree = onFree
  }

  get isSpent(): boolean {
    return this.bytes >= this.bytesMax
  }

  take(bytes: number): void {
    this.bytes += bytes
  }

  give(bytes: number): void {
    const wasSpent = this.isSpent
    this.bytes -= bytes
    if (wasSpent && !this.isSpent) this.onFree()
  }
}
