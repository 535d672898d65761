/**
 * JSON lines through pino, and a ring of the latest events for the report of a crash. What is written and what is kept is
 * decided per subsystem, by Ceph's numbers: 0 warnings and errors, 1 what happens, 10 and above everything.
 *
 * An event that is neither written nor kept costs two comparisons. Bounded: the ring by its size; a file that has grown too
 * large is set aside as `FILE.1`, in place of the one before.
 */
import { renameSync, statSync } from 'node:fs'
import type { Log, LogFields } from '@shoal/base'
import { destination, type Logger, pino } from 'pino'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

const recentEventsMax = 10_000
export const logFileBytesMax: number = 64 * 1024 * 1024
/** The file's size is looked at once in so many lines. */
const linesPerLook = 512
/** Lines that cannot be written (a full disk, a closed pipe) wait up to this, then are dropped. */
const unwrittenBytesMax = 1024 * 1024
const everything = 20

/** From which number on a level shows. */
const numberOf: Readonly<Record<LogLevel, number>> = { error: -1, warn: 0, info: 1, debug: 10 }

export interface LogEvent {
  readonly wallMs: number
  readonly level: LogLevel
  readonly subsystem: string
  readonly message: string
  readonly fields: LogFields | undefined
}

export interface SubsystemLevels {
  /** What is written. */
  readonly log: number
  /** What is kept in memory. */
  readonly memory: number
}

/** Of one subsystem; changed in place, so that each log need not look it up. */
interface LiveLevels {
  log: number
  memory: number
}

/** Shared by a log and its children. */
class LogSink {
  readonly logger: Logger
  private readonly file: string | undefined
  private readonly out: ReturnType<typeof destination>
  private readonly recent: LogEvent[] = []
  private readonly set = new Map<string, SubsystemLevels>()
  private readonly live = new Map<string, LiveLevels>()
  private standard: SubsystemLevels
  private next = 0
  private lines = 0

  constructor(name: string, level: string, file: string | undefined) {
    this.file = file
    this.standard = { log: numberOf[level as LogLevel] ?? numberOf.info, memory: everything }
    // Synchronous: the last lines before a crash are the ones that matter, and daemons log little.
    this.out = destination({
      ...(file === undefined ? { fd: 2 } : { dest: file, mkdir: true }),
      sync: true,
      maxLength: unwrittenBytesMax,
    })
    // A log that cannot be written is no reason to stop serving data.
    this.out.on('error', () => undefined)
    const base = { name, pid: process.pid }
    this.logger = pino({ name, level: 'debug', base, timestamp: pino.stdTimeFunctions.isoTime }, this.out)
    this.setAsideIfLarge()
  }

  /** Of `osd.maps`: what is set for `maps`, else for `osd`, else for all. */
  levelsOf(subsystem: string): LiveLevels {
    let levels = this.live.get(subsystem)
    if (levels === undefined) {
      levels = { ...this.resolve(subsystem) }
      this.live.set(subsystem, levels)
    }
    return levels
  }

  setLevels(subsystem: string, levels: SubsystemLevels | undefined): void {
    if (levels === undefined) this.set.delete(subsystem)
    else this.set.set(subsystem, levels)
    for (const [name, live] of this.live) Object.assign(live, this.resolve(name))
  }

  setStandard(levels: Partial<SubsystemLevels>): void {
    this.standard = { ...this.standard, ...levels }
    for (const [name, live] of this.live) Object.assign(live, this.resolve(name))
  }

  private resolve(subsystem: string): SubsystemLevels {
    const found = subsystem.split('.').findLast((part) => this.set.has(part))
    return this.set.get(found ?? '') ?? this.standard
  }

  write(
    levels: SubsystemLevels,
    level: LogLevel,
    subsystem: string,
    message: string,
    fields: LogFields | undefined,
  ): void {
    const number = numberOf[level]
    if (number <= levels.memory) {
      const event: LogEvent = { wallMs: Date.now(), level, subsystem, message, fields }
      if (this.recent.length < recentEventsMax) this.recent.push(event)
      else this.recent[this.next] = event
      this.next = (this.next + 1) % recentEventsMax
    }
    if (number > levels.log) return
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
    return this.recent.length < recentEventsMax
      ? [...this.recent]
      : [...this.recent.slice(this.next), ...this.recent.slice(0, this.next)]
  }
}

export class RealLog implements Log {
  private readonly sink: LogSink
  private readonly subsystem: string
  private readonly levels: SubsystemLevels

  constructor(sink: LogSink, subsystem: string) {
    this.sink = sink
    this.subsystem = subsystem
    this.levels = sink.levelsOf(subsystem)
  }

  /** `level`: what is written unless a subsystem's levels say otherwise. All is kept in memory. */
  static open(name: string, level: string, file?: string, subsystem = ''): RealLog {
    return new RealLog(new LogSink(name, level, file), subsystem)
  }

  debug(message: string, fields?: LogFields): void {
    if (this.shows(numberOf.debug)) this.sink.write(this.levels, 'debug', this.subsystem, message, fields)
  }

  info(message: string, fields?: LogFields): void {
    if (this.shows(numberOf.info)) this.sink.write(this.levels, 'info', this.subsystem, message, fields)
  }

  warn(message: string, fields?: LogFields): void {
    this.sink.write(this.levels, 'warn', this.subsystem, message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.sink.write(this.levels, 'error', this.subsystem, message, fields)
  }

  child(subsystem: string): Log {
    return new RealLog(this.sink, this.subsystem === '' ? subsystem : `${this.subsystem}.${subsystem}`)
  }

  /** What is written where no subsystem's levels say otherwise. */
  setLevel(level: LogLevel): void {
    this.sink.setStandard({ log: numberOf[level] })
  }

  /** By the last part of its name; an empty name means all that have none of their own. Undefined: as at the start. */
  setLevels(subsystem: string, levels: SubsystemLevels | undefined): void {
    this.sink.setLevels(subsystem, levels)
  }

  /** The latest events, oldest first. */
  recentEvents(): readonly LogEvent[] {
    return this.sink.recentEvents()
  }

  /** Writes the latest events, those below the level too. */
  dumpRecent(): void {
    // Not as `fatal`: pino flushes after that, and on a full disk would try to for ever.
    for (const event of this.sink.recentEvents()) this.sink.logger.error({ recent: true, ...event }, event.message)
  }

  private shows(number: number): boolean {
    return number <= this.levels.log || number <= this.levels.memory
  }
}
