/**
 * What operators keep in the replicated state beside the maps: the configuration, muted health checks, the history of
 * health, crash reports. One immutable value; a change names the version that it follows.
 *
 * Clusters of earlier versions have none of it until something of it is first used: their stores stay as they were.
 */
import { array, boolean, type Codec, f64, oneOf, optional, string, struct, u32, versioned } from '@shoal/base'
import type { CrashReport, HealthCheck, HealthEventRow, HealthMuteRow, StoredOption } from '@shoal/monitor-client'

/** One step of the configuration's history. */
export interface ConfigChange {
  readonly version: number
  readonly wallMs: number
  /** As the client named itself; empty when it did not. */
  readonly by: string
  readonly options: readonly {
    readonly who: string
    readonly name: string
    readonly before: string | undefined
    readonly after: string | undefined
  }[]
}

/** A check that is known to fail, whoever leads. */
export interface FailingCheck {
  readonly code: string
  readonly sinceMs: number
  readonly severity: HealthCheck['severity']
  readonly summary: string
}

export interface Operations {
  readonly version: number
  /** Grows with each change of `config`; 0 before the first. */
  readonly configVersion: number
  /** By `optionKey`, in its order. */
  readonly config: ReadonlyMap<string, StoredOption>
  /** Oldest first. */
  readonly configLog: readonly ConfigChange[]
  readonly mutes: ReadonlyMap<string, HealthMuteRow>
  readonly failing: ReadonlyMap<string, FailingCheck>
  /** Oldest first. */
  readonly healthHistory: readonly HealthEventRow[]
  /** By id, oldest first. */
  readonly crashes: ReadonlyMap<string, CrashReport>
}

type Put<Key extends string, Value> = { readonly key: Key; readonly value: Value | undefined }

export interface OperationsChange {
  /** Applies to the version before its own only. */
  readonly version: number
  /** Values to set, and keys to remove. */
  readonly config: readonly Put<string, StoredOption>[]
  readonly configLog: readonly ConfigChange[]
  readonly configLogMax: number
  readonly mutes: readonly Put<string, HealthMuteRow>[]
  readonly failing: readonly Put<string, FailingCheck>[]
  readonly healthHistory: readonly HealthEventRow[]
  readonly healthHistoryMax: number
  readonly crashes: readonly Put<string, CrashReport>[]
}

export const noOperations: Operations = {
  version: 0,
  configVersion: 0,
  config: new Map(),
  configLog: [],
  mutes: new Map(),
  failing: new Map(),
  healthHistory: [],
  crashes: new Map(),
}

export function optionKey(who: string, name: string): string {
  return `${who} ${name}`
}

/** The version must follow. */
export function applyOperations(before: Operations, change: OperationsChange): Operations {
  return {
    version: change.version,
    configVersion: change.configLog.at(-1)?.version ?? before.configVersion,
    config: put(before.config, change.config),
    configLog: [...before.configLog, ...change.configLog].slice(-change.configLogMax),
    mutes: put(before.mutes, change.mutes),
    failing: put(before.failing, change.failing),
    healthHistory: [...before.healthHistory, ...change.healthHistory].slice(-change.healthHistoryMax),
    crashes: put(before.crashes, change.crashes),
  }
}

/** In the order of keys: the state must not depend on who wrote first what was later removed. */
function put<Value>(
  before: ReadonlyMap<string, Value>,
  changes: readonly Put<string, Value>[],
): ReadonlyMap<string, Value> {
  if (changes.length === 0) return before
  const after = new Map(before)
  for (const { key, value } of changes) {
    if (value === undefined) after.delete(key)
    else after.set(key, value)
  }
  return new Map([...after].sort(([a], [b]) => (a < b ? -1 : 1)))
}

const severityCodec = oneOf(['warning', 'error'])

const storedOptionCodec: Codec<StoredOption> = struct<StoredOption>({ who: string(), name: string(), value: string() })

const configChangeCodec: Codec<ConfigChange> = struct<ConfigChange>({
  version: u32(),
  wallMs: f64(),
  by: string(),
  options: array(
    struct<ConfigChange['options'][number]>({
      who: string(),
      name: string(),
      before: optional(string()),
      after: optional(string()),
    }),
  ),
})

const muteCodec: Codec<HealthMuteRow> = struct<HealthMuteRow>({
  code: string(),
  untilMs: f64(),
  sticky: boolean(),
  count: u32(),
  severity: severityCodec,
  summary: string(),
})

const failingCodec: Codec<FailingCheck> = struct<FailingCheck>({
  code: string(),
  sinceMs: f64(),
  severity: severityCodec,
  summary: string(),
})

const healthEventCodec: Codec<HealthEventRow> = struct<HealthEventRow>({
  wallMs: f64(),
  code: string(),
  event: oneOf(['failed', 'worsened', 'eased', 'cleared', 'muted', 'unmuted']),
  severity: severityCodec,
  summary: string(),
})

const crashCodec: Codec<CrashReport> = struct<CrashReport>({
  id: string(),
  wallMs: f64(),
  entity: string(),
  host: string(),
  shoalVersion: string(),
  reason: string(),
  stack: string(),
  archivedMs: f64(),
})

const putCodec = <Value>(value: Codec<Value>): Codec<readonly Put<string, Value>[]> =>
  array(struct<Put<string, Value>>({ key: string(), value: optional(value) }))

export const operationsChangeCodec: Codec<OperationsChange> = versioned(
  1,
  1,
  'change of operations',
  struct<OperationsChange>({
    version: u32(),
    config: putCodec(storedOptionCodec),
    configLog: array(configChangeCodec),
    configLogMax: u32(),
    mutes: putCodec(muteCodec),
    failing: putCodec(failingCodec),
    healthHistory: array(healthEventCodec),
    healthHistoryMax: u32(),
    crashes: putCodec(crashCodec),
  }),
)

interface StoredOperations {
  readonly version: number
  readonly configVersion: number
  readonly config: readonly StoredOption[]
  readonly configLog: readonly ConfigChange[]
  readonly mutes: readonly HealthMuteRow[]
  readonly failing: readonly FailingCheck[]
  readonly healthHistory: readonly HealthEventRow[]
  readonly crashes: readonly CrashReport[]
}

const storedOperationsCodec: Codec<StoredOperations> = versioned(
  1,
  1,
  'operations',
  struct<StoredOperations>({
    version: u32(),
    configVersion: u32(),
    config: array(storedOptionCodec),
    configLog: array(configChangeCodec),
    mutes: array(muteCodec),
    failing: array(failingCodec),
    healthHistory: array(healthEventCodec),
    crashes: array(crashCodec),
  }),
)

export const operationsCodec: Codec<Operations> = {
  write: (writer, operations) =>
    storedOperationsCodec.write(writer, {
      ...operations,
      config: [...operations.config.values()],
      mutes: [...operations.mutes.values()],
      failing: [...operations.failing.values()],
      crashes: [...operations.crashes.values()],
    }),
  read(reader) {
    const stored = storedOperationsCodec.read(reader)
    return {
      ...stored,
      config: new Map(stored.config.map((option) => [optionKey(option.who, option.name), option])),
      mutes: new Map(stored.mutes.map((mute) => [mute.code, mute])),
      failing: new Map(stored.failing.map((check) => [check.code, check])),
      crashes: new Map(stored.crashes.map((crash) => [crash.id, crash])),
    }
  },
}
