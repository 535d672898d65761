/** What the gateway counts, for `daemon perf`: latencies over all exports, sums for each export that is in use. */
import { Histogram, type HistogramSummary } from '@shoal/base'
import { command } from './protocol.ts'

const commandNames = Object.entries(command)
const commandsMax = 1 + Math.max(...Object.values(command))

interface CommandSums {
  ops: number
  bytes: number
  latencyMs: number
}

/** Of one export while a client has it. */
export class ExportCounters {
  readonly name: string
  connections = 0
  errors = 0
  readonly byCommand: CommandSums[] = Array.from({ length: commandsMax }, () => ({ ops: 0, bytes: 0, latencyMs: 0 }))

  constructor(name: string) {
    this.name = name
  }

  summary(): ExportSummary {
    const sums = commandNames
      .map(([name, type]) => [name, this.byCommand[type] as CommandSums] as const)
      .filter(([, { ops }]) => ops > 0)
    return { connections: this.connections, errors: this.errors, commands: Object.fromEntries(sums) }
  }
}

export interface ExportSummary {
  readonly connections: number
  readonly errors: number
  /** Sums since the first of the present connections, by command: rates are differences of two looks. */
  readonly commands: Readonly<Record<string, Readonly<CommandSums>>>
}

export type NbdPerf = Readonly<Record<string, number | HistogramSummary | Readonly<Record<string, ExportSummary>>>>

export class NbdCounters {
  connections = 0
  /** Connections that met a limit. */
  refused = 0
  /** Requests that the device failed. */
  errors = 0
  /** Requests that no device was asked about: malformed, out of range, not allowed. */
  invalid = 0
  private readonly byCommand: ({ readonly latencyMs: Histogram; bytes: number } | undefined)[] = []
  private readonly exports = new Map<string, ExportCounters>()

  /** Of the export by this name; undefined when it has `connectionsMax` already. Given back by `detach`. */
  attach(name: string, connectionsMax: number): ExportCounters | undefined {
    const counters = this.exports.get(name) ?? new ExportCounters(name)
    if (counters.connections >= connectionsMax) return undefined
    this.exports.set(name, counters)
    counters.connections++
    return counters
  }

  detach(counters: ExportCounters): void {
    if (--counters.connections === 0) this.exports.delete(counters.name)
  }

  record(counters: ExportCounters, type: number, bytes: number, latencyMs: number): void {
    let row = this.byCommand[type]
    if (row === undefined) {
      row = { latencyMs: new Histogram(), bytes: 0 }
      this.byCommand[type] = row
    }
    row.latencyMs.record(latencyMs)
    row.bytes += bytes
    const sums = counters.byCommand[type] as CommandSums
    sums.ops++
    sums.bytes += bytes
    sums.latencyMs += latencyMs
  }

  summary(): NbdPerf {
    const { connections, refused, errors, invalid } = this
    const result: Record<string, NbdPerf[string]> = { connections, refused, errors, invalid }
    for (const [name, type] of commandNames) {
      const row = this.byCommand[type]
      if (row === undefined) continue
      result[`${name}LatencyMs`] = row.latencyMs.summary()
      result[`${name}Bytes`] = row.bytes
    }
    result['exports'] = Object.fromEntries([...this.exports].map(([name, counters]) => [name, counters.summary()]))
    return result
  }
}
