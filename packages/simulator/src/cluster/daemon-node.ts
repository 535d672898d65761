/**
 * One daemon on a machine of its own, and the supervisor that starts it again when it ends, as `shoal up` does in
 * production: after a delay that doubles while it keeps dying.
 *
 * Invariant 1: `daemon` is that of the present life, or undefined.
 * Invariant 2: a node that is wanted is running, starting, or waiting to be started.
 */
import type { Env } from '@shoal/base'
import type { SimMachine, SimScope, SimTime } from '@shoal/testkit'

const restartDelayMsMin = 300
const restartDelayMsMax = 15_000
const stableAfterMs = 30_000
const stopTimeoutMs = 20_000

export interface NodeEvents {
  /** The kernel of the machine closes the connections of a process that is gone. */
  processEnded(node: DaemonNode): void
  hostLost(node: DaemonNode): void
  /** It ended itself. */
  aborted(node: DaemonNode, reason: string, cause: unknown): void
  startFailed(node: DaemonNode, error: unknown): void
  note(node: DaemonNode, what: string): void
}

export interface Stoppable {
  stop(): Promise<void>
}

export abstract class DaemonNode<Daemon extends Stoppable = Stoppable> {
  readonly name: string
  readonly machine: SimMachine
  daemon: Daemon | undefined
  /** Whether the operator wants it to run. */
  wanted = false
  /** Gone for good. */
  removed = false
  /** An operator works on it: nobody else starts it. */
  held = false
  starts = 0
  /** Errors injected into the disk's answers in this life: after one the daemon may, and often must, end. */
  injectedErrors = 0
  /** Why the last start failed. */
  startError: unknown
  protected readonly time: SimTime
  protected readonly events: NodeEvents
  private restartDelayMs = restartDelayMsMin
  private startedMs = 0
  private waiting: { cancel(): void } | undefined
  private stopping: Promise<void> | undefined

  constructor(name: string, machine: SimMachine, time: SimTime, events: NodeEvents) {
    this.name = name
    this.machine = machine
    this.time = time
    this.events = events
    machine.onAbort = (reason, cause) => {
      events.aborted(this as unknown as DaemonNode, reason, cause)
      // The machine kills the life right after this.
      time.schedule(0, undefined, () => this.onDeath())
    }
  }

  protected abstract startDaemon(env: Env): Promise<Daemon>
  /** What of the daemon outlives its process: registrations in memory. */
  protected abstract forget(daemon: Daemon): void

  get isAlive(): boolean {
    return this.machine.isRunning
  }

  get host(): string {
    return this.machine.host
  }

  /** Starts it unless it runs, and keeps it running. */
  start(): void {
    if (this.removed || this.held) return
    this.wanted = true
    if (!this.machine.isRunning) this.launch()
  }

  /** SIGKILL; it stays down until `start`, or for the supervisor's delay if it is still wanted. */
  kill(): void {
    if (!this.machine.isRunning) return
    this.events.note(this as unknown as DaemonNode, 'killed')
    this.machine.kill()
    this.onDeath()
  }

  powerCut(): void {
    const ran = this.machine.isRunning
    this.events.note(this as unknown as DaemonNode, 'power cut')
    this.machine.powerCut()
    this.waiting?.cancel()
    this.waiting = undefined
    if (ran) this.events.hostLost(this as unknown as DaemonNode)
    this.forgetDaemon()
  }

  /** SIGTERM, and SIGKILL when that takes too long. */
  stop(): Promise<void> {
    this.wanted = false
    this.waiting?.cancel()
    this.waiting = undefined
    const life = this.machine.scope
    if (life === undefined) return Promise.resolve()
    if (this.daemon === undefined) {
      this.kill()
      return Promise.resolve()
    }
    this.stopping ??= this.stopLife(this.daemon, life).finally(() => {
      this.stopping = undefined
    })
    return this.stopping
  }

  private stopLife(daemon: Daemon, life: SimScope): Promise<void> {
    this.events.note(this as unknown as DaemonNode, 'stopping')
    return new Promise((resolve) => {
      const end = (): void => {
        if (this.machine.scope === life) this.kill()
        resolve()
      }
      const timer = this.time.schedule(stopTimeoutMs, undefined, end)
      const ended = (): void => {
        timer.cancel()
        this.time.schedule(0, undefined, end)
      }
      daemon.stop().then(ended, ended)
      void this.machine.dead.then(ended)
    })
  }

  private launch(): void {
    const { machine } = this
    this.waiting?.cancel()
    this.waiting = undefined
    this.starts++
    this.startedMs = this.time.nowMs
    this.injectedErrors = 0
    this.events.note(this as unknown as DaemonNode, 'starts')
    const env = machine.start()
    const life = machine.scope
    this.startDaemon(env).then(
      (daemon) => {
        if (machine.scope !== life) return
        this.daemon = daemon
        this.startError = undefined
      },
      (error: unknown) => {
        if (machine.scope !== life) return
        this.events.startFailed(this as unknown as DaemonNode, error)
        machine.kill()
        this.onDeath()
      },
    )
  }

  private onDeath(): void {
    if (this.machine.isRunning) return
    this.events.processEnded(this as unknown as DaemonNode)
    this.forgetDaemon()
    if (!this.wanted || this.waiting !== undefined) return
    if (this.time.nowMs - this.startedMs > stableAfterMs) this.restartDelayMs = restartDelayMsMin
    this.waiting = this.time.schedule(this.restartDelayMs, undefined, () => {
      this.waiting = undefined
      if (this.wanted && !this.machine.isRunning) this.launch()
    })
    this.restartDelayMs = Math.min(restartDelayMsMax, this.restartDelayMs * 2)
  }

  private forgetDaemon(): void {
    if (this.daemon !== undefined) this.forget(this.daemon)
    this.daemon = undefined
  }
}
