/**
 * Bounds what one client has under way, in operations and in bytes; whoever comes when it is full waits in line. Work
 * starts in the order in which it was brought: an admitted one starts at once, never a turn later.
 */
interface Waiting {
  readonly bytes: number
  readonly start: () => void
}

/** Read at use: they may change. */
export interface ThrottleLimits {
  readonly ops: number
  readonly bytes: number
}

export class Throttle {
  private readonly limits: ThrottleLimits
  private ops = 0
  private bytes = 0
  private readonly waiting: Waiting[] = []

  constructor(limits: ThrottleLimits) {
    this.limits = limits
  }

  /** One operation larger than the bound passes when it is alone. */
  run<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    if (this.waiting.length === 0 && this.fits(bytes)) return this.start(bytes, work)
    return new Promise((resolve, reject) => {
      const start = (): void => {
        this.start(bytes, work).then(resolve, reject)
      }
      this.waiting.push({ bytes, start })
    })
  }

  private async start<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    this.ops++
    this.bytes += bytes
    try {
      return await work()
    } finally {
      this.ops--
      this.bytes -= bytes
      this.admit()
    }
  }

  private admit(): void {
    for (let next = this.waiting[0]; next !== undefined && this.fits(next.bytes); next = this.waiting[0]) {
      this.waiting.shift()
      next.start()
    }
  }

  private fits(bytes: number): boolean {
    return this.ops === 0 || (this.ops < this.limits.ops && this.bytes + bytes <= this.limits.bytes)
  }
}
