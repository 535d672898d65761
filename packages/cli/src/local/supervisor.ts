/**
 * Keeps the daemons of one cluster directory running, as an init system would: starts them, restarts one that dies
 * (after a delay that doubles while it keeps dying), leaves alone one that an operator stopped, adopts one that still
 * runs from before, and stops them all in order.
 *
 * What is wanted is in files (`run/NAME.stopped`), so that `shoal daemon stop|start` work from any shell, and a
 * supervisor that was killed loses nothing.
 */
import { EventEmitter } from 'node:events'
import { existsSync, type FSWatcher, watch } from 'node:fs'
import { type DaemonSpec, daemonSpecs, spawnDaemon } from './daemon-spec.ts'
import type { ClusterLayout } from './layout.ts'
import {
  isRunning,
  type RunningDaemon,
  readRunFile,
  removeRunFile,
  signalDaemon,
  waitForExit,
} from './process-table.ts'

const restartDelayMsMin = 300
const restartDelayMsMax = 15_000
/** A daemon that ran this long starts again with the shortest delay. */
const stableAfterMs = 30_000
/** How long a daemon may take to stop cleanly before it is killed. */
const stopTimeoutMs = 20_000
/** Adopted processes have no parent to tell us of their end; missed file events are made good at the same pace. */
const pollMs = 2_000

interface Supervised {
  readonly spec: DaemonSpec
  pid: number | undefined
  adopted: RunningDaemon | undefined
  startedMs: number
  restartDelayMs: number
  restart: NodeJS.Timeout | undefined
}

function supervised(spec: DaemonSpec): Supervised {
  return {
    spec,
    pid: undefined,
    adopted: undefined,
    startedMs: 0,
    restartDelayMs: restartDelayMsMin,
    restart: undefined,
  }
}

interface SupervisorEvents {
  readonly exit: [name: string, how: string]
  readonly start: [name: string, pid: number]
}

export class Supervisor extends EventEmitter<SupervisorEvents> {
  private readonly layout: ClusterLayout
  private daemons: Supervised[]
  private watcher: FSWatcher | undefined
  private poll: NodeJS.Timeout | undefined
  private stopping = false

  constructor(layout: ClusterLayout) {
    super()
    this.layout = layout
    this.daemons = daemonSpecs(layout.read()).map(supervised)
  }

  start(): void {
    for (const daemon of this.daemons) this.reconcile(daemon)
    this.watcher = watch(this.layout.runDirectory, () => this.reconcileAll())
    this.poll = setInterval(() => this.reconcileAll(), pollMs)
  }

  /** Stops every daemon, the last started first; each gets SIGTERM, then SIGKILL when it does not end in time. */
  async stop(): Promise<void> {
    this.stopping = true
    this.watcher?.close()
    clearInterval(this.poll)
    for (const daemon of this.daemons) clearTimeout(daemon.restart)
    // Gateways before OSDs before monitors: each tier says goodbye to the next while that still listens.
    for (const kind of ['nbd', 'osd', 'mon'] as const) {
      await Promise.all(
        this.daemons
          .filter((daemon) => daemon.spec.kind === kind)
          .map((daemon) => stopDaemon(this.layout, daemon.spec.name)),
      )
    }
  }

  /** For a second Ctrl-C: no more waiting. Data is safe, as after a power cut. */
  killAll(): void {
    for (const { spec } of this.daemons) {
      const run = readRunFile(this.layout, spec.name)
      if (run !== undefined) signalDaemon(run, 'SIGKILL')
    }
  }

  private reconcileAll(): void {
    if (this.stopping) return
    // Daemons join and leave while we run (`shoal osd add`, `shoal mon remove`).
    const specs = daemonSpecs(this.layout.read())
    for (const spec of specs) {
      if (!this.daemons.some((daemon) => daemon.spec.name === spec.name)) this.daemons.push(supervised(spec))
    }
    this.daemons = this.daemons.filter(
      (daemon) => daemon.pid !== undefined || specs.some((spec) => spec.name === daemon.spec.name),
    )
    for (const daemon of this.daemons) this.reconcile(daemon)
  }

  private reconcile(daemon: Supervised): void {
    if (daemon.adopted !== undefined && !isRunning(daemon.adopted)) this.onExit(daemon, 'ended')
    if (daemon.pid !== undefined || daemon.adopted !== undefined || daemon.restart !== undefined) return
    if (existsSync(this.layout.stoppedFile(daemon.spec.name))) return
    daemon.adopted = readRunFile(this.layout, daemon.spec.name)
    if (daemon.adopted === undefined) this.spawn(daemon)
  }

  private spawn(daemon: Supervised): void {
    const child = spawnDaemon(this.layout, daemon.spec)
    daemon.pid = child.pid
    daemon.startedMs = performance.now()
    child.once('error', (error) => this.onExit(daemon, error.message))
    child.once('exit', (code, signal) => this.onExit(daemon, signal ?? `exit code ${code}`))
    if (child.pid !== undefined) this.emit('start', daemon.spec.name, child.pid)
  }

  private onExit(daemon: Supervised, how: string): void {
    const ranMs = performance.now() - daemon.startedMs
    daemon.pid = undefined
    daemon.adopted = undefined
    if (this.stopping) return
    removeRunFile(this.layout, daemon.spec.name)
    if (existsSync(this.layout.stoppedFile(daemon.spec.name))) return
    this.emit('exit', daemon.spec.name, how)
    if (ranMs > stableAfterMs) daemon.restartDelayMs = restartDelayMsMin
    daemon.restart = setTimeout(() => {
      daemon.restart = undefined
      this.reconcile(daemon)
    }, daemon.restartDelayMs)
    daemon.restartDelayMs = Math.min(restartDelayMsMax, daemon.restartDelayMs * 2)
  }
}

/** Stops one daemon if it runs: SIGTERM, then SIGKILL. False when it had to be killed. */
export async function stopDaemon(layout: ClusterLayout, name: string): Promise<boolean> {
  const run = readRunFile(layout, name)
  if (run === undefined) return true
  signalDaemon(run, 'SIGTERM')
  // A stopped process (SIGSTOP) does not see SIGTERM until it goes on.
  signalDaemon(run, 'SIGCONT')
  let clean = await waitForExit(run, stopTimeoutMs)
  if (!clean) {
    signalDaemon(run, 'SIGKILL')
    clean = false
    await waitForExit(run, 2_000)
  }
  removeRunFile(layout, name)
  return clean
}
