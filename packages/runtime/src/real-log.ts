/**
 * JSON lines through pino, and a ring of the latest events that a crash writes out whatever the level is. Bounded: a file
 * that has grown too large is set aside as `FILE.1`, in place of the one before.
 */
import { renameSync, statSync } from 'node:fs'
import type { Log, LogFields } from '@shoal/base'
import { destination, type Logger, pino } from 'pino'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

const recentMax = 2_000
export const logFileBytesMax: number = 64 * 1024 * 1024
/** The file's size is looked at once in so many lines. */
const linesPerLook = 512
/** Lines that cannot be written (a full disk, a closed pipe) wait up to this, then are dropped. */
const unwrittenBytesMax = 1024 * 1024

interface LogEvent {
  readonly wallMs: number
  readonly level: LogLevel
  readonly subsystem: string
  readonly message: string
  readonly fields: LogFields | undefined
}

/** Shared by a log and its children. */
class LogSink {
  readonly logger: Logger
  private readonly file: string | undefined
  private readonly out: ReturnType<typeof destination>
  private readonly recent: LogEvent[] = []
  private next = 0
  private lines = 0

  constructor(name: string, level: string, file: string | undefined) {
    this.file = file
    // Synchronous: the last lines before a crash are the ones that matter, and daemons log little.
    this.out = destination({
      ...(file === undefined ? { fd: 2 } : { dest: file, mkdir: true }),
      sync: true,
      maxLength: unwrittenBytesMax,
    })
    // A log that cannot be written is no reason to stop serving data.
    this.out.on('error', () => undefined)
    const base = { name, pid: process.pid }
    this.logger = pino({ name, level, base, timestamp: pino.stdTimeFunctions.isoTime }, this.out)
    this.setAsideIfLarge()
  }

  write(level: LogLevel, subsystem: string, message: string, fields: LogFields | undefined): void {
    const event: LogEvent = { wallMs: Date.now(), level, subsystem, message, fields }
    if (this.recent.length < recentMax) this.recent.push(event)
    else this.recent[this.next] = event
    this.next = (this.next + 1) % recentMax
    if (!this.logger.isLevelEnabled(level)) return
    this.logger[level](subsystem === '' ? { ...fields } : { subsystem, ...fields }, message)
    if (++this.lines % linesPerLook === 0) this.setAsideIfLarge()
  }

  private setAsideIfLarge(): void {
    if (this.file === undefined) return
    try {
      if (statSync(this.file).size < logFileBytesMax) return
      renameSync(this.file, `${this.file}.1`)
      this.out.reopen(this.file)
    } catch {
      // The next look tries again; until then lines go where they went.
    }
  }

  /** Oldest first. */
  recentEvents(): readonly LogEvent[] {
    return this.recent.length < recentMax
      ? this.recent
      : [...this.recent.slice(this.next), ...this.recent.slice(0, this.next)]
  }
}

export class RealLog implements Log {
  private readonly sink: LogSink
  private readonly subsystem: string

  constructor(sink: LogSink, subsystem: string) {
    this.sink = sink
    this.subsystem = subsystem
  }

  static open(name: string, level: string, file?: string): RealLog {
    return new RealLog(new LogSink(name, level, file), '')
  }

  debug(message: string, fields?: LogFields): void {
    this.sink.write('debug', this.subsystem, message, fields)
  }

  info(message: string, fields?: LogFields): void {
    this.sink.write('info', this.subsystem, message, fields)
  }

  warn(message: string, fields?: LogFields): void {
    this.sink.write('warn', this.subsystem, message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.sink.write('error', this.subsystem, message, fields)
  }

  child(subsystem: string): Log {
    return new RealLog(this.sink, this.subsystem === '' ? subsystem : `${this.subsystem}.${subsystem}`)
  }

  setLevel(level: LogLevel): void {
    this.sink.logger.level = level
  }

  /** Writes the latest events, those below the level too. */
  dumpRecent(): void {
    for (const event of this.sink.recentEvents()) this.sink.logger.fatal({ recent: true, ...event }, event.message)
  }
}
