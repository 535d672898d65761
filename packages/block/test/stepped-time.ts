import type { Clock, Timer, Timers } from '@shoal/base'

/** A clock that stands still; who waits goes on at once, after `onWait` has done what happens meanwhile. */
export class SteppedTime implements Clock, Timers {
  nowMs = 0
  onWait: (waitMs: number) => Promise<void> = async () => undefined

  monotonicMs(): number {
    return this.nowMs
  }

  wallMs(): number {
    return 1_700_000_000_000
  }

  after(delayMs: number, callback: () => void): Timer {
    void this.onWait(delayMs).then(callback)
    return { cancel: () => undefined }
  }

  soon(callback: () => void): void {
    this.after(0, callback)
  }
}
