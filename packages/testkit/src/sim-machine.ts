/**
 * A machine of the simulated world: a disk, a host name, and the lives of one daemon on it, each with an {@link Env} of
 * its own. What a dead life still tries never happens, and never returns.
 */
import {
  assert,
  ClusterError,
  type Disk,
  type Env,
  type ErrorCode,
  type KeyValueStore,
  type KeyValueStores,
  type Log,
  type Prng,
} from '@shoal/base'
import { silentLog } from './logs.ts'
import type { MemoryKeyValueDisk } from './memory-key-value-store.ts'
import { simCompression } from './sim-compression.ts'
import { type IoGate, type IoOperation, isCrashPoint, SimDisk, SimDiskImage } from './sim-disk.ts'
import type { SimNetwork } from './sim-network.ts'
import { type ClockError, type SimScope, type SimTime, trueClock } from './sim-time.ts'

export interface SimMachineOptions {
  readonly host: string
  readonly time: SimTime
  readonly network: SimNetwork
  readonly random: Prng
  readonly log?: Log
  /** How long the disk takes; without it, as long as a turn of the microtask queue: tests may then simply await. */
  readonly ioDelayMs?: { readonly min: number; readonly max: number }
}

/** What `env.abort` throws: the life it ended is over, nothing it does has an effect any more. */
export class SimAbort extends Error {
  override readonly name = 'SimAbort'
}

const never = new Promise<never>(() => undefined)

interface Life {
  readonly scope: SimScope
  readonly over: Promise<void>
  readonly end: () => void
}

export class SimMachine {
  readonly host: string
  disk: SimDiskImage = new SimDiskImage()
  /** Reasons given to `env.abort`, of all lives. */
  readonly aborts: string[] = []
  /** Operations of the disk so far, of all lives. */
  operations = 0
  /** Operations so far that changed the medium, of all lives. */
  steps = 0
  /** The power is cut while this step is under way. */
  cutPowerAtStep: number = Number.POSITIVE_INFINITY
  /** Makes an operation fail with this code. */
  fault: ((operation: IoOperation) => ErrorCode | undefined) | undefined
  /** Milliseconds that each operation of the disk takes on top. */
  extraIoDelayMs = 0
  /** Told of each operation of the disk. */
  onIo: ((operation: IoOperation) => void) | undefined
  /** Told of each `abort` of a living process, before it is dead. */
  onAbort: ((reason: string, cause: unknown) => void) | undefined
  private clockError: ClockError = trueClock
  private readonly options: SimMachineOptions
  private readonly random: Prng
  private life: Life | undefined

  constructor(options: SimMachineOptions) {
    this.options = options
    this.host = options.host
    this.random = options.random
  }

  get isRunning(): boolean {
    return this.life !== undefined
  }

  /** The machine's key-value stores, from below: for tests that damage them. */
  get keyValue(): { disk(path: string): MemoryKeyValueDisk } {
    return { disk: (path) => this.disk.store(path) }
  }

  /** Resolves when the present life ends. */
  get dead(): Promise<void> {
    return this.life?.over ?? Promise.resolve()
  }

  /** The time of the present life. */
  get scope(): SimScope | undefined {
    return this.life?.scope
  }

  get clock(): ClockError {
    return this.clockError
  }

  /** From now on the clocks of this machine go so wrong. */
  setClock(error: ClockError): void {
    this.clockError = error
    this.life?.scope.setClock(error)
  }

  /** SIGSTOP: timers, input and the disk's answers wait until `resume`. Clocks go on. */
  pause(): void {
    if (this.life === undefined) return
    this.life.scope.pause()
    this.options.network.stop(this.host)
  }

  resume(): void {
    if (this.life?.scope.paused !== true) return
    this.life.scope.resume()
    this.options.network.goOn(this.host)
  }

  /** A new, empty disk. */
  replaceDisk(): void {
    assert(this.life === undefined, `${this.host} is not running`)
    const { capacityBytes } = this.disk
    this.disk = new SimDiskImage()
    this.disk.capacityBytes = capacityBytes
  }

  /** Begins a life: the Env of a process that just started. */
  start(): Env {
    assert(this.life === undefined, `${this.host} is not running`)
    const { time, network, log = silentLog } = this.options
    // Clocks of different processes have nothing in common.
    const scope = time.scope(this.random.below(1_000_000), this.clockError)
    let end = (): void => undefined
    const over = new Promise<void>((resolve) => {
      end = resolve
    })
    const life: Life = { scope, over, end }
    this.life = life
    network.hostBack(this.host)
    const gate: IoGate = { pass: (operation) => this.pass(life, operation) }
    const disk: Disk = new SimDisk(this.disk, gate)
    return {
      clock: scope.clock,
      timers: scope.timers,
      random: this.random.fork(),
      disk,
      keyValue: this.keyValueOf(life, gate),
      compression: simCompression(() => this.takeTurn(life)),
      network: network.endPoint(this.host, scope),
      log,
      abort: (reason, cause): never => {
        if (this.life === life) {
          this.onAbort?.(reason, cause)
          this.aborts.push(reason)
          this.kill()
        }
        throw new SimAbort(reason, { cause })
      },
    }
  }

  /** SIGKILL: what was written is there, whether synced or not; connections are reset. */
  kill(): void {
    const { life } = this
    if (life === undefined) return
    this.endLife(life)
    this.disk.kill(this.random)
    this.options.network.processEnded(this.host, life.scope)
  }

  /** What was not synced is kept, lost or torn; peers hear nothing. */
  powerCut(): void {
    const { life } = this
    if (life !== undefined) {
      this.endLife(life)
      this.options.network.hostLost(this.host, life.scope)
    }
    this.disk.powerCut(this.random)
  }

  private endLife(life: Life): void {
    this.life = undefined
    life.scope.end()
    life.end()
  }

  private async pass(life: Life, operation: IoOperation): Promise<void> {
    if (this.life !== life) return never
    this.operations++
    this.onIo?.(operation)
    if (isCrashPoint(operation) && ++this.steps === this.cutPowerAtStep) {
      this.powerCut()
      return never
    }
    const code = this.fault?.(operation)
    await this.takeTime(life)
    if (this.life !== life) return never
    if (code !== undefined) {
      throw new ClusterError(code, `${operation.kind} ${operation.path}: injected ${code}`, { outcome: 'unknown' })
    }
  }

  private async takeTime(life: Life): Promise<void> {
    const { ioDelayMs } = this.options
    if (ioDelayMs === undefined) return
    const delayMs = ioDelayMs.min + (ioDelayMs.max - ioDelayMs.min) * this.random.fraction() + this.extraIoDelayMs
    await new Promise<void>((resolve) => life.scope.timers.after(delayMs, resolve))
  }

  /** A thread of the machine is busy for a moment; a dead process never hears of it. */
  private async takeTurn(life: Life): Promise<void> {
    if (this.options.ioDelayMs === undefined) await Promise.resolve()
    else await new Promise<void>((resolve) => life.scope.timers.after(this.random.fraction(), resolve))
    if (this.life !== life) await never
  }

  private keyValueOf(life: Life, gate: IoGate): KeyValueStores {
    const open = new Set<string>()
    const living = async <T>(work: () => Promise<T>): Promise<T> => {
      if (this.life !== life) return never
      const result = await work()
      return this.life === life ? result : never
    }
    return {
      open: async (path): Promise<KeyValueStore> => {
        if (open.has(path)) throw new ClusterError('EBUSY', `${path} is open already`)
        open.add(path)
        const store = await living(async () => this.disk.store(path).open())
        return {
          get: (key) => living(() => store.get(key)),
          entries: (range) => living(() => store.entries(range)),
          batch: async (ops, { sync }) => {
            // The batch is under way when a crash comes at this step: it may be kept.
            const before = this.steps + 1 === this.cutPowerAtStep
            if (before && this.life === life) await store.batch(ops, { sync: false })
            await gate.pass({ kind: 'key-value-batch', path, bytes: 0 })
            await store.batch(ops, { sync })
          },
          close: async () => {
            open.delete(path)
            await living(() => store.close())
          },
        }
      },
    }
  }
}
