/** The real machine as an {@link Env}, and what a process does when it meets a bug. */
import { randomFillSync } from 'node:crypto'
import { allocateUninitializedBy, type Env, Prng, type Random } from '@shoal/base'
import { writeCrashDump } from './crash-dump.ts'
import { realClock, realTimers } from './real-clock.ts'
import { realCompression } from './real-compression.ts'
import { RealDisk } from './real-disk.ts'
import { realKeyValueStores } from './real-key-value.ts'
import { RealLog } from './real-log.ts'
import { RealNetwork } from './real-network.ts'

/** BSD's EX_SOFTWARE: an internal error. The supervisor tells it from a failed start (1). */
const abortExitCode = 70

export interface RealEnvOptions {
  /** In every log line: `osd.3`. */
  readonly name: string
  readonly logLevel?: string
  /** Standard error when left out. */
  readonly logFile?: string
  /** The subsystem of what is logged without another: `osd`. */
  readonly subsystem?: string
  /** Where the report of a crash goes, under a name of its own; nowhere when left out. */
  readonly crashDirectory?: string
  /** Of the program, for reports of crashes. */
  readonly version?: string
  /** For reproducing a run; the system's entropy when left out. */
  readonly seed?: readonly [number, number, number]
}

export interface RealEnv extends Env {
  readonly log: RealLog
}

export function createRealEnv(options: RealEnvOptions): RealEnv {
  allocateUninitializedBy((sizeBytes) => new Uint8Array(Buffer.allocUnsafeSlow(sizeBytes).buffer))
  const log = RealLog.open(options.name, options.logLevel ?? 'info', options.logFile, options.subsystem)
  return {
    clock: realClock,
    timers: realTimers,
    random: options.seed === undefined ? new SystemRandom(entropy()) : new Prng(options.seed),
    disk: new RealDisk(options.name),
    keyValue: realKeyValueStores,
    compression: realCompression,
    network: new RealNetwork(),
    log,
    abort(reason, cause): never {
      // Whatever becomes of the log, a full disk under it included, the process ends.
      try {
        log.error('aborting', { reason, cause: cause instanceof Error ? (cause.stack ?? cause.message) : cause })
        const { crashDirectory, name, version = '' } = options
        const dump = { entity: name, version, reason, cause, events: log.recentEvents() }
        if (crashDirectory === undefined || !writeCrashDump(crashDirectory, dump)) log.dumpRecent()
      } finally {
        process.exit(abortExitCode)
      }
    },
  }
}

/** Choices are cheap; bytes are the system's, which nobody can foresee from others that were drawn before. */
class SystemRandom extends Prng implements Random {
  override bytes(length: number): Uint8Array {
    return randomFillSync(new Uint8Array(length))
  }
}

function entropy(): readonly [number, number, number] {
  const [a = 0, b = 0, c = 0] = randomFillSync(new Uint32Array(3))
  return [a, b, c]
}

/** A broken invariant or a lost rejection ends the daemon with a report of it; the journal makes that safe. */
export function installCrashHandlers(env: Env): void {
  process.on('uncaughtException', (error) => env.abort('uncaught exception', error))
  process.on('unhandledRejection', (reason) => env.abort('unhandled rejection', reason))
}
