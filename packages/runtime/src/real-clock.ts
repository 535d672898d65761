/**
 * The process's time.
 *
 * A timer keeps the process alive, as a daemon's work should: who is closed cancels its timers, and a test that hangs
 * has found one that is not.
 */
import type { Clock, Timer, Timers } from '@shoal/base'

/** Longer delays make setTimeout fire at once. */
const delayMsMax = 2 ** 31 - 1

export const realClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
}

export const realTimers: Timers = {
  after(delayMs: number, callback: () => void): Timer {
    const timer = setTimeout(callback, Math.min(delayMs, delayMsMax))
    return { cancel: () => clearTimeout(timer) }
  },
  soon(callback: () => void): void {
    setImmediate(callback)
  },
}
