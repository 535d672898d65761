/**
 * Turns map updates into maps and configurations and tells listeners.
 *
 * Invariant 1: listeners see epochs in strictly growing order, and configurations never go back.
 * A listener that throws is a bug of the listener's: the error is logged and the others still hear.
 */
import { ClusterError, decode, type Epoch, type Log } from '@shoal/base'
import type { MonitorMap, OsdMap } from '@shoal/cluster-map'
import { type EffectiveConfig, effectiveConfigCodec } from './config/effective-config.ts'
import { applyOsdMapIncremental, decodeMonitorMap, decodeOsdMap, decodeOsdMapIncremental } from './map-codecs.ts'
import type { MapSubscription } from './monitor-client.ts'
import type { MapUpdate } from './transport.ts'

export class MapFollower {
  osdMap: OsdMap | undefined
  monitorMap: MonitorMap | undefined
  config: EffectiveConfig | undefined
  private readonly log: Log
  private readonly listeners = new Set<(map: OsdMap) => void>()
  private readonly configListeners = new Set<(config: EffectiveConfig) => void>()

  constructor(log: Log) {
    this.log = log
  }

  get epoch(): Epoch {
    return this.osdMap?.epoch ?? (0 as Epoch)
  }

  onOsdMap(listener: (map: OsdMap) => void): MapSubscription {
    // A wrapper, so that the same function subscribed twice is two subscriptions.
    const entry = (map: OsdMap) => listener(map)
    this.listeners.add(entry)
    return { cancel: () => this.listeners.delete(entry) }
  }

  onConfig(listener: (config: EffectiveConfig) => void): MapSubscription {
    const entry = (config: EffectiveConfig) => listener(config)
    this.configListeners.add(entry)
    return { cancel: () => this.configListeners.delete(entry) }
  }

  /** Throws EBADMSG on malformed maps and ESTALE on a gap: the subscription must begin anew. */
  apply(update: MapUpdate): void {
    if (update.monitorMap !== undefined) {
      const map = decodeMonitorMap(update.monitorMap)
      if (this.monitorMap === undefined || map.epoch >= this.monitorMap.epoch) this.monitorMap = map
    }
    // Before the maps: who waits for a first map has its settings by then.
    if (update.config !== undefined) this.adoptConfig(decode(effectiveConfigCodec, update.config))
    if (update.osdMapFull !== undefined) this.adopt(decodeOsdMap(update.osdMapFull))
    for (const bytes of update.osdMapIncrementals) {
      const incremental = decodeOsdMapIncremental(bytes)
      if (incremental.epoch <= this.epoch) continue
      if (incremental.full !== undefined) {
        this.adopt(incremental.full)
        continue
      }
      if (this.osdMap === undefined || incremental.epoch !== this.osdMap.epoch + 1) {
        throw new ClusterError('ESTALE', `incremental ${incremental.epoch} does not follow epoch ${this.epoch}`)
      }
      this.adopt(applyOsdMapIncremental(this.osdMap, incremental))
    }
  }

  private adopt(map: OsdMap): void {
    if (map.epoch <= this.epoch) return
    this.osdMap = map
    this.tell(this.listeners, map, 'a listener failed on a new OSD map')
  }

  /** A monitor that lags behind may send an old one. */
  private adoptConfig(config: EffectiveConfig): void {
    const { config: before } = this
    if (before !== undefined && (config.version < before.version || config.epoch < before.epoch)) return
    this.config = config
    this.tell(this.configListeners, config, 'a listener failed on a new configuration')
  }

  private tell<T>(listeners: ReadonlySet<(news: T) => void>, news: T, failure: string): void {
    for (const listener of [...listeners]) {
      try {
        listener(news)
      } catch (error) {
        this.log.error(failure, { error })
      }
    }
  }
}
