/** The configuration: options for all daemons, kept by the monitors. docs/mechanisms/config.md */
import { ClusterError } from '@shoal/base'
import {
  allOptions,
  type CommandReply,
  type ConfigDumpRow,
  type ConfigGetRow,
  type ConfigLogRow,
  describeRange,
  effectiveValues,
  findOption,
  formatOption,
  formatTarget,
  knownOption,
  type Option,
  parseOption,
  parseTarget,
  serviceOf,
  subjectNamed,
  type Target,
} from '@shoal/monitor-client'
import { z } from 'zod'
import { subjectOf } from '../services/effective-config.ts'
import { type ConfigChange, type Operations, optionKey } from '../state/operations.ts'
import {
  type Command,
  done,
  noArguments,
  numberArgument,
  readCommand,
  type WriteView,
  writeCommand,
} from './command.ts'

/** Every daemon's values are looked up in all of them, at each change. */
const storedMax = 4_096
/** Each is in the history, which is bounded by changes. */
const resetMax = 256

/** Who says that he did it. Nobody proves it: it is for people who look at the log. */
const by = z.string().max(128).default('')
const text = z.union([z.string(), z.number(), z.boolean()]).transform(String)
const who = z.string().max(256)
const name = z.string().max(128)

/** The target, checked against the CRUSH map's words. */
function targetOf(word: string, view: WriteView, option: Option): Target {
  const target = parseTarget(word)
  const service = serviceOf(target.section)
  if (service !== undefined && !option.services.includes(service)) {
    throw new ClusterError('EINVAL', `${option.name} means nothing to ${target.section}`, {
      hint: `set it for global or for ${option.services.join(' or ')}`,
    })
  }
  const types = [...view.map.crush.types.values()]
  if (target.bucket !== undefined && !types.includes(target.bucket.type)) {
    throw new ClusterError('EINVAL', `the CRUSH map has no type '${target.bucket.type}'`, {
      hint: `its types: ${types.join(', ')}`,
    })
  }
  return target
}

function change(view: WriteView, options: ConfigChange['options'], signed: string): number {
  const { draft } = view
  const version = draft.operations.changeConfig(options, draft.wallMs, signed)
  if (draft.operations.value.config.size > storedMax) {
    throw new ClusterError('E2BIG', `at most ${storedMax} values can be set`, { hint: 'shoal config dump' })
  }
  const from = signed === '' ? '' : ` by ${signed}`
  for (const one of options) {
    const what = one.after === undefined ? 'removed' : `= ${one.after}`
    draft.log('info', `config ${one.who} ${one.name} ${what}${from}`)
  }
  return version
}

/** Checks a value and keeps it for all that the target names. */
export function setOption(
  args: { readonly who: string; readonly name: string; readonly value: string; readonly by: string },
  view: WriteView,
): CommandReply {
  const option = findOption(args.name)
  if (option.change === 'fixed') {
    throw new ClusterError('EPERM', `${option.name} cannot be set: ${option.description}`)
  }
  const target = formatTarget(targetOf(args.who, view, option))
  const value = formatOption(parseOption(option, args.value))
  const before = view.draft.operations.value.config.get(optionKey(target, option.name))?.value
  if (before === value) return done(`${option.name} is ${value} for ${target} already`)
  const version = change(view, [{ who: target, name: option.name, before, after: value }], args.by)
  const when = option.change === 'restart' ? '; daemons go by it after their next restart' : ''
  return done(`${option.name} is ${value} for ${target}${when}`, { who: target, name: option.name, value, version })
}

function remove(args: { who: string; name: string; by: string }, view: WriteView) {
  const target = formatTarget(parseTarget(args.who))
  // An option that a later version brought can be removed, too.
  const stored = view.draft.operations.value.config
  const wanted = stored.has(optionKey(target, args.name)) ? args.name : findOption(args.name).name
  const before = stored.get(optionKey(target, wanted))?.value
  if (before === undefined) return done(`${wanted} is not set for ${target}`)
  const version = change(view, [{ who: target, name: wanted, before, after: undefined }], args.by)
  return done(`${wanted} is no longer set for ${target}`, { who: target, name: wanted, version })
}

function dumpRows({ config }: Operations): readonly ConfigDumpRow[] {
  return [...config.values()]
    .map((stored) => {
      const [section = '', ...masks] = stored.who.split('/')
      const option = knownOption(stored.name)
      return {
        who: stored.who,
        section,
        mask: masks.join('/'),
        name: stored.name,
        value: stored.value,
        level: option?.level ?? 'unknown',
        needsRestart: option?.change === 'restart',
      }
    })
    .sort((a, b) => (a.who < b.who ? -1 : a.who > b.who ? 1 : a.name < b.name ? -1 : 1))
}

/** The newest first. */
function logRows({ configLog }: Operations, count: number): readonly ConfigLogRow[] {
  return configLog.slice(-count).reverse()
}

/** What undoes all changes after a version. */
function changesBackTo(operations: Operations, version: number): ConfigChange['options'] {
  const { configLog, configVersion, config } = operations
  const oldest = (configLog[0]?.version ?? configVersion + 1) - 1
  if (version < oldest || version > configVersion) {
    throw new ClusterError('ERANGE', `the configuration of version ${version} is not known`, {
      hint: `versions ${oldest} to ${configVersion} are: shoal config log`,
    })
  }
  const wanted = new Map<string, { who: string; name: string; after: string | undefined }>()
  for (const step of configLog.filter((one) => one.version > version).reverse()) {
    for (const { who: target, name: option, before } of [...step.options].reverse()) {
      wanted.set(optionKey(target, option), { who: target, name: option, after: before })
    }
  }
  return [...wanted]
    .map(([key, one]) => ({ ...one, before: config.get(key)?.value }))
    .filter((one) => one.before !== one.after)
}

export const configCommands: readonly Command[] = [
  writeCommand('config set', z.object({ who, name, value: text, by }), setOption),
  ...['config rm', 'config remove'].map((prefix) => writeCommand(prefix, z.object({ who, name, by }), remove)),
  writeCommand('config reset', z.object({ num: numberArgument(z.number().int().min(0)), by }), (args, view) => {
    const options = changesBackTo(view.draft.operations.value, args.num)
    if (options.length === 0) return done(`nothing has changed since version ${args.num}`)
    if (options.length > resetMax) {
      throw new ClusterError('E2BIG', `that is ${options.length} values; at most ${resetMax} go back at once`, {
        hint: 'go back in steps: shoal config log',
      })
    }
    const version = change(view, options, args.by)
    return done(`the configuration is that of version ${args.num}`, { version, options })
  }),
  readCommand('config get', z.object({ who, name: name.optional() }), (args, { operations, map }) => {
    const named = subjectNamed(args.who)
    const subject = subjectOf(named.name, '', map)
    const values = effectiveValues(operations.config.values(), subject)
    const row = (option: string, value: string, source: string): ConfigGetRow => ({ name: option, value, source })
    if (args.name === undefined)
      return done(
        '',
        values.map((one) => row(one.name, one.value, one.from)),
      )
    const option = findOption(args.name)
    if (!option.services.includes(subject.service)) {
      throw new ClusterError('EINVAL', `${option.name} means nothing to ${subject.name}`, {
        hint: `it is an option of ${option.services.join(', ')}`,
      })
    }
    const found = values.find((one) => one.name === option.name)
    const value = found?.value ?? formatOption(option.default)
    return done(value, row(option.name, value, found?.from ?? 'default'))
  }),
  readCommand('config dump', noArguments, (_args, { operations }) => done('', dumpRows(operations))),
  readCommand(
    'config log',
    z.object({ num: numberArgument(z.number().int().min(1).max(1_000)).default(10) }),
    (args, { operations }) => done('', logRows(operations, args.num)),
  ),
  readCommand('config ls', noArguments, () =>
    done(
      '',
      allOptions.map((option) => option.name),
    ),
  ),
  readCommand('config help', z.object({ name }), (args) => {
    const option = findOption(args.name)
    return done('', { ...option, range: describeRange(option) })
  }),
]
