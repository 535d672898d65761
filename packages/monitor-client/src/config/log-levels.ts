/**
 * The options `debug_*` and the process's log: how much is written, and kept in memory for the report of a crash, of each
 * subsystem. The subsystem is the word after `debug_`; `debug_none` means all that have no option of their own.
 */
import { ClusterError } from '@shoal/base'
import type { AdminHandlers } from '../admin/admin.ts'
import { type CommonSettings, commonOptions } from './common-options.ts'
import type { DaemonConfig } from './daemon-config.ts'
import { parseDebugLevels } from './option.ts'

export interface LogControl {
  /** By name; an empty one means all that are not set. Undefined: as the process was started. */
  setLevels(subsystem: string, levels: { readonly log: number; readonly memory: number } | undefined): void
  /** The latest events, oldest first. */
  recentEvents(): readonly unknown[]
}

const debugOptions = Object.keys(commonOptions).filter(
  (name): name is Exclude<keyof CommonSettings, 'debug_asok_assert_abort'> =>
    commonOptions[name as keyof CommonSettings].type === 'debug',
)
const subsystemOf = (option: string): string => (option === 'debug_none' ? '' : option.slice('debug_'.length))

/** Sets the levels as the options say, now and whenever they change. What is not set stays as the process was started. */
export function followLogLevels<Settings extends CommonSettings>(
  config: DaemonConfig<Settings>,
  log: LogControl | undefined,
): void {
  if (log === undefined) return
  const follow = (names: Iterable<string>): void => {
    for (const name of names) {
      const option = debugOptions.find((one) => one === name)
      if (option === undefined) continue
      log.setLevels(subsystemOf(option), config.isSet(option) ? parseDebugLevels(config.settings[option]) : undefined)
    }
  }
  config.onChange(follow)
  follow(debugOptions.filter((name) => config.isSet(name)))
}

const words: Readonly<Record<string, number>> = { error: -1, warn: 0, info: 1, debug: 20 }

/** `log level`: for this process until it ends or the option changes. `log recent`: what is kept in memory. */
export function logHandlers(log: LogControl | undefined): AdminHandlers {
  if (log === undefined) return {}
  return {
    'log level': ({ level, subsystem = '' }) => {
      const number = words[String(level)]
      const levels = number === undefined ? parseDebugLevels(String(level)) : { log: number, memory: 20 }
      if (levels === undefined) {
        throw new ClusterError('EINVAL', `'${String(level)}' is no log level`, {
          hint: `${Object.keys(words).join(', ')}, or numbers from 0 to 20: 5 or 5/20`,
        })
      }
      const known = debugOptions.map(subsystemOf)
      if (typeof subsystem !== 'string' || !known.includes(subsystem)) {
        throw new ClusterError('EINVAL', `there is no subsystem '${String(subsystem)}'`, {
          hint: known.join(' ').trim(),
        })
      }
      log.setLevels(subsystem, levels)
      return { subsystem, ...levels }
    },
    'log recent': ({ count = 100 }) => {
      if (typeof count !== 'number' || !(count >= 1)) throw new ClusterError('EINVAL', 'count is a number from 1 on')
      return log.recentEvents().slice(-count)
    },
  }
}
