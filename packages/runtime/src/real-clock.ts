import type { Clock, Timer, Timers } from '@shoal/base'

export const realClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
}

export const realTimers: Timers = {
  after(delayMs: number, callback: () => void): Timer {
    const timer = setTimeout(callback, delayMs)
    return { cancel: () => clearTimeout(timer) }
  },
  soon(callback: () => void): void {
    setImmediate(callback)
  },
}
