/** Logs for tests: one that forgets, one that remembers. */
import type { Log, LogFields } from '@shoal/base'

export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
}

export interface LogEntry {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly subsystem: string
  readonly message: string
  readonly fields: LogFields
}

const entriesMax = 100_000

/** Keeps what was logged, the latest hundred thousand lines of it, also by its children. */
export class CollectingLog implements Log {
  readonly entries: LogEntry[]
  private readonly subsystem: string

  constructor(subsystem = '', entries: LogEntry[] = []) {
    this.subsystem = subsystem
    this.entries = entries
  }

  debug(message: string, fields?: LogFields): void {
    this.add('debug', message, fields)
  }

  info(message: string, fields?: LogFields): void {
    this.add('info', message, fields)
  }

  warn(message: string, fields?: LogFields): void {
    this.add('warn', message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.add('error', message, fields)
  }

  child(subsystem: string): CollectingLog {
    return new CollectingLog(this.subsystem === '' ? subsystem : `${this.subsystem}.${subsystem}`, this.entries)
  }

  private add(level: LogEntry['level'], message: string, fields: LogFields = {}): void {
    this.entries.push({ level, subsystem: this.subsystem, message, fields })
    if (this.entries.length > entriesMax) this.entries.splice(0, entriesMax / 2)
  }
}
