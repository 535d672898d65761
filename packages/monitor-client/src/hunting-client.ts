/**
 * The monitor client over any transport. Owns: which monitor the session is with, the newest maps, commands and reports
 * under way.
 *
 * Invariant 1: listeners see epochs in strictly growing order, each map the previous one plus its incremental (or a
 *              full map where the monitors trimmed the gap).
 * Invariant 2: a command keeps its request id over all retries, so that it runs at most once; when any attempt may have
 *              reached a leader, a final failure says `outcome: 'unknown'`.
 * Invariant 3: every queue and retry is bounded; nothing polls. An idle session is one silent stream.
 */
import {
  type Address,
  ClusterError,
  type Env,
  type Epoch,
  hexEncode,
  isClusterError,
  type OsdId,
  type PgId,
  type Timer,
} from '@shoal/base'
import type { MonitorMap, OsdMap } from '@shoal/cluster-map'
import type { EffectiveConfig } from './config/effective-config.ts'
import { decodeOsdMap } from './map-codecs.ts'
import { MapFollower } from './map-follower.ts'
import type {
  ClusterLogEntry,
  CommandReply,
  FailureReport,
  MapSubscription,
  MonitorClient,
  MonitorCommand,
  OsdBoot,
  StatsReport,
} from './monitor-client.ts'
import { MonitorSession } from './monitor-session.ts'
import { ReportQueue } from './report-queue.ts'
import type { MonitorTransport } from './transport.ts'

export interface MonitorClientOptions {
  /** At least one; the monitor map adds the others. */
  readonly monitors: readonly Address[]
  /** `osd.3`, `client.4711`: shown by the monitors. */
  readonly entity?: string
  /** The machine, as CRUSH would name it, for masks of the configuration. */
  readonly host?: string
  /** How long `start` hunts for a monitor with a map. */
  readonly startTimeoutMs?: number
}

const startTimeoutMsDefault = 15_000
const commandTimeoutMsDefault = 30_000
/** One attempt at one monitor: a frozen one must not use up the whole time of a command. */
const attemptTimeoutMs = 5_000
const retryDelayMs = 250
const pastMapsMax = 32

export class HuntingMonitorClient implements MonitorClient {
  private readonly env: Env
  private readonly options: MonitorClientOptions
  private readonly maps: MapFollower
  private readonly session: MonitorSession
  private readonly reports: ReportQueue
  private readonly pastMaps = new Map<Epoch, OsdMap>()
  private readonly requestPrefix: string
  private nextRequest = 1
  private readonly closers = new Set<() => void>()
  private readonly leaderListeners = new Set<(term: number) => void>()

  constructor(env: Env, transport: MonitorTransport, options: MonitorClientOptions) {
    if (options.monitors.length === 0) {
      throw new ClusterError('EINVAL', 'no monitor address is known', {
        hint: 'name the monitors with --mon HOST:PORT, or start a cluster with `shoal up`',
      })
    }
    this.env = { ...env, log: env.log.child('monc') }
    this.options = options
    this.requestPrefix = hexEncode(env.random.bytes(8))
    this.maps = new MapFollower(this.env.log)
    this.session = new MonitorSession(this.env, transport, {
      entity: options.entity ?? `client.${this.requestPrefix}`,
      host: options.host ?? '',
      monitors: options.monitors,
      maps: this.maps,
      onNewTerm: () => {
        this.reports.repeatStats()
        for (const listener of [...this.leaderListeners]) listener(this.leaderTerm)
      },
    })
    this.reports = new ReportQueue(this.env, this.session)
  }

  get osdMap(): OsdMap | undefined {
    return this.maps.osdMap
  }

  get monitorMap(): MonitorMap | undefined {
    return this.maps.monitorMap
  }

  get config(): EffectiveConfig | undefined {
    return this.maps.config
  }

  async start(): Promise<void> {
    this.session.start()
    try {
      await this.waitForEpoch(1 as Epoch, this.options.startTimeoutMs ?? startTimeoutMsDefault)
    } catch (cause) {
      throw new ClusterError('ENOQUORUM', `no monitor answers at ${this.options.monitors.join(', ')}`, {
        hint: 'are the monitors running? `shoal daemon ls`',
        retry: true,
        cause,
      })
    }
  }

  async close(): Promise<void> {
    this.session.close()
    this.reports.close()
    for (const close of [...this.closers]) close()
    this.closers.clear()
  }

  onOsdMap(listener: (map: OsdMap) => void): MapSubscription {
    return this.maps.onOsdMap(listener)
  }

  onConfig(listener: (config: EffectiveConfig) => void): MapSubscription {
    return this.maps.onConfig(listener)
  }

  get leaderTerm(): number {
    return this.session.leaderTerm
  }

  onNewLeader(listener: (term: number) => void): MapSubscription {
    this.leaderListeners.add(listener)
    return { cancel: () => this.leaderListeners.delete(listener) }
  }

  waitForEpoch(epoch: Epoch, timeoutMs: number): Promise<OsdMap> {
    const map = this.maps.osdMap
    if (map !== undefined && map.epoch >= epoch) return Promise.resolve(map)
    return new Promise((resolve, reject) => {
      const finish = () => {
        subscription.cancel()
        timer.cancel()
        this.closers.delete(close)
      }
      const close = () => {
        finish()
        reject(new ClusterError('ESHUTDOWN', 'the monitor client was closed'))
      }
      const subscription = this.maps.onOsdMap((newer) => {
        if (newer.epoch < epoch) return
        finish()
        resolve(newer)
      })
      const timer = this.env.timers.after(timeoutMs, () => {
        finish()
        reject(new ClusterError('ETIMEDOUT', `no OSD map of epoch ${epoch} within ${timeoutMs} ms`, { retry: true }))
      })
      this.closers.add(close)
    })
  }

  async osdMapAt(epoch: Epoch): Promise<OsdMap> {
    if (this.maps.osdMap?.epoch === epoch) return this.maps.osdMap
    const known = this.pastMaps.get(epoch)
    if (known !== undefined) return known
    const map = decodeOsdMap(
      await this.attempts(commandTimeoutMsDefault, (timeoutMs) => this.session.current().osdMap(epoch, timeoutMs)),
    )
    this.pastMaps.set(epoch, map)
    const [oldest] = this.pastMaps.keys()
    if (this.pastMaps.size > pastMapsMax && oldest !== undefined) this.pastMaps.delete(oldest)
    return map
  }

  command(command: MonitorCommand, timeoutMs: number = commandTimeoutMsDefault): Promise<CommandReply> {
    const requestId = `${this.requestPrefix}.${this.nextRequest++}`
    return this.attempts(timeoutMs, (attemptMs) =>
      this.session.current().command({
        command,
        requestId,
        stale: command.stale === true,
        forwarded: false,
        timeoutMs: attemptMs,
      }),
    )
  }

  async boot(boot: OsdBoot): Promise<void> {
    await this.attempts(commandTimeoutMsDefault, (timeoutMs) =>
      this.session.current().report([{ kind: 'boot', boot }], false, timeoutMs),
    )
  }

  async shutdown(osd: OsdId, incarnation: number): Promise<void> {
    await this.attempts(attemptTimeoutMs, (timeoutMs) =>
      this.session.current().report([{ kind: 'shutdown', osd, incarnation }], false, timeoutMs),
    )
  }

  reportFailure(failure: FailureReport): void {
    this.reports.add({ kind: 'failure', failure })
  }

  requestUpThru(osd: OsdId, epoch: Epoch): void {
    this.reports.add({ kind: 'up-thru', osd, epoch })
  }

  requestPgTemp(pgTemp: ReadonlyMap<PgId, readonly OsdId[]>, osd: OsdId, epoch: Epoch): void {
    this.reports.add({ kind: 'pg-temp', osd, epoch, entries: pgTemp })
  }

  reportStats(stats: StatsReport): void {
    this.reports.addStats(stats)
  }

  log(entry: ClusterLogEntry): void {
    this.reports.add({ kind: 'log', entry })
  }

  /** Repeats what failed for a passing reason, at another monitor if this one does not answer, until time is up. */
  private async attempts<T>(timeoutMs: number, run: (timeoutMs: number) => Promise<T>): Promise<T> {
    const deadlineMs = this.env.clock.monotonicMs() + timeoutMs
    let maybeApplied = false
    let lastWord: ClusterError | undefined
    for (;;) {
      const leftMs = deadlineMs - this.env.clock.monotonicMs()
      const monitor = this.session.currentAddress
      try {
        return await run(Math.max(1, Math.min(leftMs, attemptTimeoutMs)))
      } catch (error) {
        if (!isClusterError(error)) throw error
        if (!error.retry && error.code !== 'ECANCELED') throw error
        maybeApplied ||= error.outcome === 'unknown'
        // What a monitor said tells more than that the last attempt ran out of time.
        if (error.code !== 'ETIMEDOUT' || lastWord === undefined) lastWord = error
        if (this.session.closed) throw finalError(lastWord, maybeApplied)
        if (deadlineMs - this.env.clock.monotonicMs() <= retryDelayMs) throw finalError(lastWord, maybeApplied)
        this.session.leave(monitor)
        await this.pause(retryDelayMs)
      }
    }
  }

  private pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        timer.cancel()
        this.closers.delete(finish)
        resolve()
      }
      const timer: Timer = this.env.timers.after(delayMs, finish)
      this.closers.add(finish)
    })
  }
}

function finalError(error: ClusterError, maybeApplied: boolean): ClusterError {
  const code = error.code === 'ETIMEDOUT' ? 'ETIMEDOUT' : 'ENOQUORUM'
  return new ClusterError(code, `the monitors did not carry it out in time: ${error.message}`, {
    hint: error.hint ?? 'see `shoal mon stat` and `shoal daemon ls`',
    retry: true,
    outcome: maybeApplied ? 'unknown' : 'not-applied',
    cause: error,
  })
}
