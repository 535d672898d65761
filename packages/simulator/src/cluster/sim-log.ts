/** What the daemons of a simulation log: the latest lines, for the report of a failure. */
import type { Log, LogFields } from '@shoal/base'
import type { SimTime } from '@shoal/testkit'
import type { Trace } from '../trace.ts'

type Level = 'debug' | 'info' | 'warn' | 'error'

interface Line {
  readonly nowMs: number
  readonly level: Level
  readonly from: string
  readonly message: string
  readonly fields: LogFields | undefined
}

const linesMax = 4_000

function shown(value: unknown): string {
  if (value instanceof Error) return `${value.name}: ${value.message}`
  if (typeof value === 'string') return value
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return String(value)
  }
}

function format({ nowMs, level, from, message, fields }: Line): string {
  const rest = Object.entries(fields ?? {}).map(([key, value]) => `${key}=${shown(value)}`)
  return `${(nowMs / 1000).toFixed(3)} ${level} ${from}: ${[message, ...rest].join(' ')}`
}

export class SimLogs {
  private readonly time: SimTime
  private readonly trace: Trace
  private lines: Line[] = []
  /** Told of each line. */
  onLine: ((from: string, message: string) => void) | undefined

  constructor(time: SimTime, trace: Trace) {
    this.time = time
    this.trace = trace
  }

  of(name: string): Log {
    const at =
      (level: Level) =>
      (message: string, fields?: LogFields): void =>
        this.add(level, name, message, fields)
    return {
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      child: (subsystem) => this.of(`${name}.${subsystem}`),
    }
  }

  add(level: Level, from: string, message: string, fields?: LogFields): void {
    const { time, trace } = this
    trace.text(from)
    trace.text(message)
    this.onLine?.(from, message)
    const line: Line = { nowMs: time.nowMs, level, from, message, fields }
    if (trace.print !== undefined) trace.line(time.nowMs, () => `log ${format(line)}`)
    this.lines.push(line)
    if (this.lines.length > linesMax * 2) this.lines = this.lines.slice(-linesMax)
  }

  /** The latest lines of warnings and errors, or of all. */
  last(count: number, levels: readonly Level[] = ['info', 'warn', 'error']): readonly string[] {
    return this.lines
      .filter((line) => levels.includes(line.level))
      .slice(-count)
      .map(format)
  }
}
