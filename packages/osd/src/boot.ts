/**
 * Getting this run marked up, and up again when it was marked down by mistake. Pure: inputs in, what to do out.
 *
 * Invariant 1: boots are repeated (1 s, then up to 5 s apart) until a map shows this run up: any of them may be lost.
 * Invariant 2: nothing boots while `noup` is set, while fewer than a third of the peers answer, or after a goodbye.
 * Invariant 3: marked down by mistake more than `markdownsMax` times in ten minutes, it waits ever longer before it
 *              boots, so that an OSD with a bad link does not make every PG peer again and again.
 */
import type { OsdId } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'

export type BootState = 'booting' | 'up' | 'stopping'

export type BootAction =
  | { readonly kind: 'send-boot' }
  | { readonly kind: 'became-up' }
  /** The map says down though this run lives. */
  | { readonly kind: 'marked-down'; readonly pauseMs: number }

const repeatMsMin = 1_000
const repeatMsMax = 5_000
const markdownWindowMs = 600_000
const pauseMsUnit = 5_000
const pauseMsMax = 120_000

export class BootMachine {
  state: BootState = 'booting'
  private readonly whoami: OsdId
  private readonly incarnation: number
  private readonly markdownsMax: () => number
  private readonly markdownsMs: number[] = []
  private nextBootMs = 0
  private repeatMs = repeatMsMin
  private formerRunUp = false

  constructor(whoami: OsdId, incarnation: number, markdownsMax: () => number) {
    this.whoami = whoami
    this.incarnation = incarnation
    this.markdownsMax = markdownsMax
  }

  onMap(map: OsdMap, nowMs: number): BootAction | undefined {
    if (this.state === 'stopping') return undefined
    const info = map.osds.get(this.whoami)
    const up = info?.up === true && info.incarnation === this.incarnation
    if (up && this.state === 'booting') {
      this.state = 'up'
      return { kind: 'became-up' }
    }
    if (up) return undefined
    if (this.state === 'booting') {
      // The monitors first end the former run; once a map shows that, the next boot can succeed at once.
      if (info?.up === true) this.formerRunUp = true
      else if (this.formerRunUp) {
        this.formerRunUp = false
        this.nextBootMs = Math.min(this.nextBootMs, nowMs)
      }
      return undefined
    }
    this.state = 'booting'
    this.repeatMs = repeatMsMin
    while (this.markdownsMs.length > 0 && nowMs - (this.markdownsMs[0] as number) > markdownWindowMs) {
      this.markdownsMs.shift()
    }
    this.markdownsMs.push(nowMs)
    const excess = this.markdownsMs.length - this.markdownsMax()
    const pauseMs = excess <= 0 ? 0 : Math.min(pauseMsMax, pauseMsUnit * 2 ** Math.min(excess - 1, 10))
    this.nextBootMs = nowMs + pauseMs
    return { kind: 'marked-down', pauseMs }
  }

  /** Called on every map and every second: whether to send a boot now. */
  poll(map: OsdMap, nowMs: number, healthy: boolean): BootAction | undefined {
    if (this.state !== 'booting' || map.flags.has('noup') || !healthy || nowMs < this.nextBootMs) return undefined
    this.nextBootMs = nowMs + this.repeatMs
    this.repeatMs = Math.min(repeatMsMax, this.repeatMs * 2)
    return { kind: 'send-boot' }
  }

  stop(): void {
    this.state = 'stopping'
  }
}
