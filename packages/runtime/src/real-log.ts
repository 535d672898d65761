/** JSON lines through pino, and a ring of the latest events that a crash writes out whatever the level is. */
import type { Log, LogFields } from '@shoal/base'
import { destination, type Logger, pino } from 'pino'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

const recentMax = 2_000

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
  private readonly recent: LogEvent[] = []
  private next = 0

  constructor(name: string, level: string, file: string | undefined) {
    // Synchronous: the last lines before a crash are the ones that matter, and daemons log little.
    const out = destination({ ...(file === undefined ? { fd: 2 } : { dest: file, mkdir: true }), sync: true })
    this.logger = pino({ name, level, base: { name, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime }, out)
  }

  write(level: LogLevel, subsystem: string, message: string, fields: LogFields | undefined): void {
    const event: LogEvent = { wallMs: Date.now(), level, subsystem, message, fields }
    if (this.recent.length < recentMax) this.recent.push(event)
    else this.recent[this.next] = event
    this.next = (this.next + 1) % recentMax
    if (!this.logger.isLevelEnabled(level)) return
    this.logger[level](subsystem === '' ? { ...fields } : { subsystem, ...fields }, message)
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
