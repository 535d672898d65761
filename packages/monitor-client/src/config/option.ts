/**
 * What an option is, and how its values are written. Values are stored and sent as text in one canonical form; daemons
 * turn them into numbers, booleans and strings.
 *
 * After Ceph's `src/common/options`: https://docs.ceph.com/en/latest/rados/configuration/ceph-conf/
 */
import { ClusterError } from '@shoal/base'

export type OptionValue = number | boolean | string

/** Which daemons read it. The NBD gateway and whoever else uses the cluster is a `client`. */
export type Service = 'mon' | 'osd' | 'client'

export interface OptionSpec {
  /**
   * `uint`: a whole number; `float`; `secs`: seconds, also written `90s`, `10m`, `1h`, `2d`; `size`: bytes, also written
   * `64K`, `48M`, `1G`; `bool`; `str`; `debug`: a level of the log from 0 to 20, and after a slash one of what is kept in
   * memory.
   */
  readonly type: 'uint' | 'float' | 'secs' | 'size' | 'bool' | 'str' | 'debug'
  readonly default: OptionValue
  readonly min?: number
  readonly max?: number
  /** Of a `str`: the words that it takes. */
  readonly choices?: readonly string[]
  /** What the number counts, where the type does not say it. */
  readonly unit?: string
  readonly level: 'basic' | 'advanced' | 'dev'
  readonly services: readonly Service[]
  /**
   * `live`: daemons go by the new value at once. `restart`: from their next start on. `fixed`: it is part of how a daemon
   * is started and cannot be set here.
   */
  readonly change: 'live' | 'restart' | 'fixed'
  readonly description: string
}

export interface Option extends OptionSpec {
  readonly name: string
}

/** One line per setting: the type of the settings decides that none is missing. */
export type OptionTable<Settings> = { readonly [Name in keyof Settings]: OptionSpec }

export function defaultsOf<Settings extends object>(table: OptionTable<Settings>): Settings {
  const entries = Object.entries<OptionSpec>(table)
  return Object.fromEntries(entries.map(([name, option]) => [name, option.default])) as Settings
}

const secondsIn: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 }
const bytesIn: Readonly<Record<string, number>> = { B: 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }
const valueCharactersMax = 1_024

/** The value that a text means. Throws EINVAL, with what is allowed, for a text that means none within the range. */
export function parseOption(option: Option, text: string): OptionValue {
  const value = valueOf(option, text.trim())
  const inRange =
    typeof value !== 'number' ||
    (value >= (option.min ?? Number.NEGATIVE_INFINITY) && value <= (option.max ?? Number.POSITIVE_INFINITY))
  if (value === undefined || !inRange) {
    throw new ClusterError('EINVAL', `${option.name} cannot be '${text}'`, {
      hint: `it is ${describeRange(option)}; the default is ${formatOption(option.default)}`,
    })
  }
  return value
}

/** The canonical text: what is stored and shown. */
export function formatOption(value: OptionValue): string {
  return String(value)
}

/** `a number of seconds from 0.1 to 60`. */
export function describeRange(option: OptionSpec): string {
  const { type, min, max, unit, choices } = option
  const from = min === undefined ? '' : ` from ${min}`
  const to = max === undefined ? '' : min === undefined ? ` up to ${max}` : ` to ${max}`
  const of = unit === undefined ? '' : ` of ${unit}`
  switch (type) {
    case 'uint':
      return `a whole number${of}${from}${to}`
    case 'float':
      return `a number${of}${from}${to}`
    case 'secs':
      return `a number of seconds${from}${to}, also written 90s, 10m, 1h`
    case 'size':
      return `a number of bytes${from}${to}, also written 64K, 48M, 1G`
    case 'bool':
      return 'true or false'
    case 'str':
      return choices === undefined
        ? `a text of at most ${valueCharactersMax} characters`
        : `one of ${choices.join(', ')}`
    case 'debug':
      return 'a level from 0 to 20, or two of them: LOG/MEMORY (0 warnings, 1 what happens, 10 everything)'
  }
}

function valueOf(option: Option, text: string): OptionValue | undefined {
  switch (option.type) {
    case 'uint': {
      const number = numberOf(text, {})
      return number !== undefined && Number.isSafeInteger(number) && number >= 0 ? number : undefined
    }
    case 'float':
      return numberOf(text, {})
    case 'secs':
      return parseSeconds(text)
    case 'size': {
      const number = numberOf(text.toUpperCase().replace(/I?B$/, ''), bytesIn)
      return number !== undefined && Number.isSafeInteger(number) ? number : undefined
    }
    case 'bool':
      if (/^(true|yes|on|1)$/i.test(text)) return true
      return /^(false|no|off|0)$/i.test(text) ? false : undefined
    case 'str':
      if (option.choices !== undefined) return option.choices.includes(text) ? text : undefined
      return text.length <= valueCharactersMax && isPlain(text) ? text : undefined
    case 'debug':
      return parseDebugLevels(text) === undefined ? undefined : text
  }
}

/** `90`, `90s`, `10m`, `1.5h`, `2d`; undefined for anything else. */
export function parseSeconds(text: string): number | undefined {
  return numberOf(text.trim(), secondsIn)
}

/** Lines and tables stay what they are: no control characters. */
function isPlain(text: string): boolean {
  for (const character of text) if (character < ' ' || character === '\u007f') return false
  return true
}

function numberOf(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)([A-Za-z]?)$/i.exec(text)
  if (match === null) return undefined
  const [, digits = '', unit = ''] = match
  const factor = unit === '' ? 1 : units[unit]
  const number = factor === undefined ? Number.NaN : Number(digits) * factor
  return Number.isFinite(number) ? number : undefined
}

/** `1/20`: what goes to the log, and what is kept in memory for a crash. One number is both. */
export function parseDebugLevels(text: string): { readonly log: number; readonly memory: number } | undefined {
  const match = /^(\d{1,2})(?:\/(\d{1,2}))?$/.exec(text)
  if (match === null) return undefined
  const log = Number(match[1])
  const memory = match[2] === undefined ? log : Number(match[2])
  return log <= 20 && memory <= 20 ? { log, memory } : undefined
}
