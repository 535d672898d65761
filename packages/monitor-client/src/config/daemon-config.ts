/**
 * A daemon's settings: defaults, what it was started with, and above both what the monitors say. Code reads a setting at
 * the moment it needs it and so goes by the newest value.
 *
 * Invariant 1: a configuration that is older than the one in force (of a monitor that lags behind) changes nothing.
 * Invariant 2: a value that this build does not understand is left out and shown, and never stops the daemon.
 * Invariant 3: after `started` an option that needs a restart keeps its value until the process ends.
 */
import { ClusterError, isClusterError, type Log } from '@shoal/base'
import type { EffectiveConfig, EffectiveValue } from './effective-config.ts'
import { defaultsOf, formatOption, type OptionSpec, type OptionTable, type OptionValue, parseOption } from './option.ts'

/** A row of `config show`. */
export interface ConfigRow {
  readonly name: string
  readonly value: string
  /** `default`, `start`, or the target that it was set for: `osd/class:ssd`. */
  readonly source: string
  /** What it will be after a restart. */
  readonly pending?: string
  /** Why the value of the monitors is not in force. */
  readonly ignored?: string
}

export type ConfigListener = (changed: ReadonlySet<string>) => void

interface Source {
  readonly from: string
  /** By the monitors. */
  readonly set: boolean
  readonly pending: string | undefined
  readonly ignored: string | undefined
}

export class DaemonConfig<Settings extends object> {
  /** Always the same object: its fields change. */
  readonly settings: Readonly<Settings>
  private readonly live: Record<string, OptionValue>
  private readonly table: Readonly<Record<string, OptionSpec>>
  private readonly atStart: Readonly<Record<string, OptionValue>>
  private readonly startNames: ReadonlySet<string>
  private readonly sources = new Map<string, Source>()
  private readonly listeners = new Set<ConfigListener>()
  private readonly log: Log
  private latest: EffectiveConfig | undefined
  private running = false

  /** Throws EINVAL for a start value whose name or kind is wrong. */
  constructor(table: OptionTable<Settings>, start: Partial<Settings>, log: Log) {
    this.table = table
    this.atStart = { ...checkedSettings(table, start) } as Record<string, OptionValue>
    this.startNames = new Set(Object.keys(start))
    this.live = { ...this.atStart }
    this.settings = this.live as unknown as Settings
    this.log = log
  }

  /** Of the configuration in force; 0 before any. */
  get version(): number {
    return this.latest?.version ?? 0
  }

  /** Told after each change, with the names of what changed its value, or is set now, or no longer. */
  onChange(listener: ConfigListener): void {
    this.listeners.add(listener)
  }

  /** Whether it is other than what this process would go by alone. */
  isSet(name: string): boolean {
    return this.sources.get(name)?.set === true
  }

  /** From now on options that need a restart stay as they are. */
  started(): void {
    this.running = true
  }

  apply(config: EffectiveConfig): void {
    const { latest } = this
    if (latest !== undefined && (config.version < latest.version || config.epoch < latest.epoch)) return
    this.latest = config
    const byName = new Map(config.values.map((value) => [value.name, value]))
    const changed = new Set<string>()
    for (const [name, option] of Object.entries(this.table)) {
      if (option.change === 'fixed') continue
      const before = this.live[name]
      const wasSet = this.isSet(name)
      const value = this.take({ name, ...option }, byName.get(name))
      if (value === before && wasSet === this.isSet(name)) continue
      this.live[name] = value
      changed.add(name)
    }
    if (changed.size === 0) return
    this.log.info('the configuration changed', {
      version: config.version,
      ...Object.fromEntries([...changed].map((name) => [name, this.live[name]])),
    })
    for (const listener of [...this.listeners]) listener(changed)
  }

  /** Of everything that this daemon reads, by name. */
  show(): readonly ConfigRow[] {
    return Object.keys(this.table)
      .sort()
      .map((name) => {
        const source = this.sources.get(name)
        const from = source?.from ?? (this.startNames.has(name) ? 'start' : 'default')
        return {
          name,
          value: formatOption(this.live[name] as OptionValue),
          source: from,
          ...(source?.pending === undefined ? {} : { pending: source.pending }),
          ...(source?.ignored === undefined ? {} : { ignored: source.ignored }),
        }
      })
  }

  /** The value to go by, with a note of where it came from. */
  private take(option: OptionSpec & { readonly name: string }, stored: EffectiveValue | undefined): OptionValue {
    const { name } = option
    const before = this.live[name] as OptionValue
    const fallback = this.atStart[name] as OptionValue
    let wanted = fallback
    let ignored: string | undefined
    if (stored !== undefined) {
      try {
        wanted = parseOption(option, stored.value)
      } catch (error) {
        if (!isClusterError(error)) throw error
        ignored = error.message
        if (this.sources.get(name)?.ignored !== ignored) this.log.warn('a setting is not understood', { name, ignored })
      }
    }
    const stays = this.running && option.change === 'restart' && wanted !== before
    const pending = stays ? formatOption(wanted) : undefined
    const from = stored === undefined || ignored !== undefined ? undefined : stored.from
    const known = this.sources.get(name)
    if (stays) this.note(name, { from: known?.set === true ? known.from : undefined, pending, ignored })
    else this.note(name, { from, pending, ignored })
    return stays ? before : wanted
  }

  private note(name: string, source: { readonly [K in Exclude<keyof Source, 'set'>]: Source[K] | undefined }): void {
    const from = source.from ?? (this.startNames.has(name) ? 'start' : 'default')
    if (source.from === undefined && source.pending === undefined && source.ignored === undefined) {
      this.sources.delete(name)
    } else {
      this.sources.set(name, { ...source, from, set: source.from !== undefined })
    }
  }
}

/** The defaults with some settings replaced. Throws EINVAL for an unknown name or a value of the wrong kind. */
export function checkedSettings<Settings extends object>(
  table: OptionTable<Settings>,
  overrides: Partial<Settings>,
): Settings {
  const defaults = defaultsOf(table) as Readonly<Record<string, OptionValue>>
  for (const [name, value] of Object.entries(overrides)) {
    const standard = Object.hasOwn(defaults, name) ? defaults[name] : undefined
    if (standard === undefined) {
      throw new ClusterError('EINVAL', `there is no setting '${name}'`, {
        hint: `known settings: ${Object.keys(defaults).join(', ')}`,
      })
    }
    if (typeof value !== typeof standard || (typeof value === 'number' && !(Number.isFinite(value) && value >= 0))) {
      throw new ClusterError('EINVAL', `${name} must be a ${typeof standard}, not ${JSON.stringify(value)}`)
    }
  }
  return { ...defaults, ...overrides } as Settings
}
