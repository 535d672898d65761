/**
 * Gives every OSD map to the daemon once and in order, whatever order and gaps the monitors' subscription has.
 *
 * Invariant 1: epochs are delivered in growing order without gaps, except where the monitors have trimmed the gap.
 * Invariant 2: `latest` is true exactly for a map after which no newer one is known: only then may placement groups act
 *              on the interval that they are in.
 */
import { type Env, type Epoch, isClusterError, type Log } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import type { MonitorClient } from '@shoal/monitor-client'

/** Past maps asked for at once. */
const fetchWindow = 8
const retryMs = 500

export interface MapListener {
  /** What must be done before the map is delivered; undefined for nothing. Nothing else is delivered meanwhile. */
  readonly prepare: (map: OsdMap) => Promise<void> | undefined
  readonly onMap: (map: OsdMap, latest: boolean) => void
  /** The monitors' newest map is the one delivered last, in this run or an earlier one. */
  readonly onCurrent: () => void
}

export class MapFeed {
  private readonly env: Env
  private readonly log: Log
  private readonly monitor: MonitorClient
  private readonly listener: MapListener
  private readonly queue: OsdMap[] = []
  private last: Epoch
  private running: Promise<void> | undefined
  private stopped = false

  /** `last`: the newest epoch that was delivered in an earlier run; 0 means that history does not matter. */
  constructor(env: Env, monitor: MonitorClient, last: Epoch, listener: MapListener) {
    this.env = env
    this.log = env.log.child('maps')
    this.monitor = monitor
    this.last = last
    this.listener = listener
  }

  push(map: OsdMap): void {
    if (this.stopped) return
    if (map.epoch === this.last && this.running === undefined) this.listener.onCurrent()
    if (map.epoch <= this.last) return
    if (this.running === undefined && (map.epoch === this.last + 1 || this.last === 0)) {
      const prepared = this.listener.prepare(map)
      if (prepared === undefined) this.pass(map, true)
      else this.run(prepared.then(() => this.passPrepared(map)))
      return
    }
    this.queue.push(map)
    if (this.running === undefined) this.run(Promise.resolve())
  }

  private run(first: Promise<void>): void {
    this.running = first
      .then(() => this.drain())
      .catch((cause: unknown) => this.env.abort('a map could not be taken in', cause))
      .finally(() => {
        this.running = undefined
      })
  }

  async stop(): Promise<void> {
    this.stopped = true
    await this.running
  }

  private async drain(): Promise<void> {
    while (!this.stopped) {
      const next = this.queue.shift()
      if (next === undefined) return
      if (next.epoch <= this.last) continue
      await this.fillGap(next.epoch)
      if (this.stopped) return
      await this.listener.prepare(next)
      this.passPrepared(next)
    }
  }

  private passPrepared(map: OsdMap): void {
    if (!this.stopped) this.pass(map, this.queue.length === 0)
  }

  private async fillGap(to: Epoch): Promise<void> {
    for (let at = this.last + 1; at < to && !this.stopped; at += fetchWindow) {
      const epochs: Epoch[] = []
      for (let epoch = at; epoch < Math.min(to, at + fetchWindow); epoch++) epochs.push(epoch as Epoch)
      const maps = await Promise.all(epochs.map((epoch) => this.fetch(epoch)))
      for (const map of maps) {
        if (map === undefined || this.stopped) continue
        await this.listener.prepare(map)
        if (!this.stopped) this.pass(map, false)
      }
    }
  }

  /** Undefined when the monitors have trimmed it. */
  private async fetch(epoch: Epoch): Promise<OsdMap | undefined> {
    while (!this.stopped) {
      try {
        return await this.monitor.osdMapAt(epoch)
      } catch (error) {
        if (isClusterError(error, 'ENOENT')) return undefined
        if (!isClusterError(error)) throw error
        this.log.warn('a past map cannot be had, trying again', { epoch, error: error.message })
        await new Promise<void>((resolve) => this.env.timers.after(retryMs, resolve))
      }
    }
    return undefined
  }

  private pass(map: OsdMap, latest: boolean): void {
    this.last = map.epoch
    this.listener.onMap(map, latest)
  }
}
