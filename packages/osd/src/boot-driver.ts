/**
 * Gets this run marked up, keeps it so, and takes leave: the sends, the timer and the words of a {@link BootMachine}.
 *
 * Invariant 1: there is one timer. It runs while the OSD is not up, and ends with `goodbye`.
 * Invariant 2: a boot that the monitors refuse for the same reason again and again is logged once.
 */
import { type Env, isClusterError, type OsdId, type Timer } from '@shoal/base'
import { type OsdAddresses, type OsdMap, osdFeatures } from '@shoal/cluster-map'
import type { MonitorClient } from '@shoal/monitor-client'
import { BootMachine, type BootState } from './boot.ts'
import type { LogChannel } from './log-channel.ts'
import type { OsdDaemonOptions } from './osd-options.ts'
import type { OsdSettings } from './settings.ts'

export interface BootDriverOptions {
  readonly whoami: OsdId
  readonly uuid: string
  readonly incarnation: number
  readonly place: Pick<OsdDaemonOptions, 'crushLocation' | 'deviceClass'>
  readonly settings: Pick<OsdSettings, 'osd_max_markdown_count'>
  readonly monitor: MonitorClient
  readonly logChannel: LogChannel
  /** The newest that was taken in. */
  readonly map: () => OsdMap | undefined
  /** Undefined until it listens. */
  readonly addresses: () => OsdAddresses | undefined
  /** Of the store, for the weight of an OSD that CRUSH does not know yet. */
  readonly totalBytes: () => number
  readonly isHealthy: () => boolean
  readonly onUp: () => void
}

const bootPollMs = 500
const goodbyeMsMax = 3_000
const goodbyePollMs = 20
const bytesPerTebibyte = 2 ** 40

export class BootDriver {
  private readonly env: Env
  private readonly options: BootDriverOptions
  private readonly machine: BootMachine
  private timer: Timer | undefined
  private lastError: string | undefined

  constructor(env: Env, options: BootDriverOptions) {
    const { whoami, incarnation, settings } = options
    this.env = env
    this.options = options
    this.machine = new BootMachine(whoami, incarnation, () => settings.osd_max_markdown_count)
  }

  get state(): BootState {
    return this.machine.state
  }

  /** Why the monitors did not take the last boot. */
  get error(): string | undefined {
    return this.lastError
  }

  /** The newest map of the monitors. */
  onLatestMap(map: OsdMap): void {
    const action = this.machine.onMap(map, this.env.clock.monotonicMs())
    if (action?.kind === 'became-up') {
      this.env.log.info('up', { epoch: map.epoch })
      this.lastError = undefined
      this.options.onUp()
    } else if (action?.kind === 'marked-down') {
      const later = action.pauseMs > 0 ? ` in ${action.pauseMs / 1000} s` : ''
      const words = `map ${map.epoch} marks me down, but I live: booting again${later}`
      this.options.logChannel.write('warn', words, true)
    }
    this.poll()
  }

  /** Until it is up, and again when it is marked down. */
  poll(): void {
    this.timer?.cancel()
    if (this.state !== 'booting') return
    const map = this.options.map()
    if (map !== undefined) this.tryBoot(map)
    this.timer = this.env.timers.after(bootPollMs, () => this.poll())
  }

  /** No boot from now on. Resolves when a map shows this run as down, or after {@link goodbyeMsMax}; rejects with a bug only. */
  async goodbye(): Promise<void> {
    const wasUp = this.state === 'up'
    this.machine.stop()
    this.timer?.cancel()
    if (!wasUp) return
    const { env } = this
    const { whoami, incarnation, monitor } = this.options
    try {
      await monitor.shutdown(whoami, incarnation)
    } catch (error) {
      if (!isClusterError(error)) throw error
      env.log.warn('no goodbye: the monitors do not answer', { error: error.message })
      return
    }
    const deadlineMs = env.clock.monotonicMs() + goodbyeMsMax
    while (env.clock.monotonicMs() < deadlineMs) {
      if (this.options.map()?.osds.get(whoami)?.up !== true) return
      await new Promise<void>((resolve) => env.timers.after(goodbyePollMs, resolve))
    }
  }

  private tryBoot(map: OsdMap): void {
    const { whoami, uuid, incarnation, monitor, place } = this.options
    const addresses = this.options.addresses()
    if (addresses === undefined) return
    const action = this.machine.poll(map, this.env.clock.monotonicMs(), this.options.isHealthy())
    if (action?.kind !== 'send-boot') return
    const { crushLocation, deviceClass } = place
    const crushWeight = this.options.totalBytes() / bytesPerTebibyte
    const mapEpoch = map.epoch
    monitor
      .boot({
        osd: whoami,
        uuid,
        incarnation,
        addresses,
        features: osdFeatures,
        crushLocation,
        deviceClass,
        crushWeight,
        mapEpoch,
      })
      .catch((error: unknown) => this.onRefused(error))
  }

  private onRefused(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error)
    if (message === this.lastError) return
    this.lastError = message
    const hint = isClusterError(error) ? error.hint : undefined
    this.env.log.error('the monitors did not take the boot', { error: message, hint })
  }
}
