/**
 * So much per second, and so much at once after a rest. What is taken may be more than there is, if there is something: then
 * the next one waits until the debt is paid. A request that is larger than the burst passes, and the rate holds.
 */
export class TokenBucket {
  private readonly ratePerSecond: number
  private readonly burst: number
  private tokens: number
  private atMs: number

  constructor(ratePerSecond: number, burst: number, nowMs: number) {
    this.ratePerSecond = ratePerSecond
    this.burst = burst
    this.tokens = burst
    this.atMs = nowMs
  }

  /** Milliseconds until something may be taken; 0: now. */
  delayMs(nowMs: number): number {
    this.refill(nowMs)
    // One token is the least that counts: what is left of it is less than a clock tells apart.
    const missing = Math.min(1, this.burst) - this.tokens
    return missing <= 0 ? 0 : Math.ceil((missing / this.ratePerSecond) * 1000)
  }

  take(cost: number): void {
    this.tokens -= cost
  }

  private refill(nowMs: number): void {
    this.tokens = Math.min(this.burst, this.tokens + ((nowMs - this.atMs) / 1000) * this.ratePerSecond)
    this.atMs = nowMs
  }
}
