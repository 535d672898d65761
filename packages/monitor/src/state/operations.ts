/**
 * What operators keep in the replicated state beside the maps: the configuration, muted health checks, the history of
 * health, crash reports. One immutable value; a change names the version that it follows.
 *
 * Clusters of earlier versions have none of it until something of it is first used: their stores stay as they were.
 */
import { array, boolean, type Codec, f64, oneOf, optional, string, struct, u32, versioned } from '@shoal/base'
import type { StoredOption } from '@shoal/monitor-client'

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

export interface HealthMute {
  readonly code: string
  /** 0: until it is taken back. */
  readonly untilMs: number
  /** It outlasts the check's clearing and worsening. */
  readonly sticky: boolean
  /** Of the check when it was muted; a higher one ends the mute. */
  readonly count: number
  readonly severity: 'warning' | 'error'
  readonly summary: string
}

export interface HealthEvent {
  readonly wallMs: number
  readonly code: string
  readonly event: 'failed' | 'worsened' | 'cleared' | 'muted' | 'unmuted'
  readonly severity: 'warning' | 'error'
  readonly summary: string
}

export interface CrashReport {
  /** Time and a random part: `2026-11-26T14:53:27.123Z_0f3a...`. */
  readonly id: string
  readonly wallMs: number
  /** `osd.3` */
  readonly entity: string
  readonly shoalVersion: string
  readonly reason: string
  readonly stack: string
  /** 0: nobody has said that he has seen it. */
  readonly archivedMs: number
}

export interface Operations {
  readonly version: number
  /** Grows with each change of `config`; 0 before the first. */
  readonly configVersion: number
  /** By `optionKey`, in its order. */
  readonly config: ReadonlyMap<string, StoredOption>
  /** Oldest first. */
  readonly configLog: readonly ConfigChange[]
  readonly mutes: ReadonlyMap<string, HealthMute>
  /** Oldest first. */
  readonly healthHistory: readonly HealthEvent[]
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
  readonly mutes: readonly Put<string, HealthMute>[]
  readonly healthHistory: readonly HealthEvent[]
  readonly healthHistoryMax: number
  readonly crashes: readonly Put<string, CrashReport>[]
}

export const noOperations: Operations = {
  version: 0,
  configVersion: 0,
  config: new Map(),
  configLog: [],
  mutes: new Map(),
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

const muteCodec: Codec<HealthMute> = struct<HealthMute>({
  code: string(),
  untilMs: f64(),
  sticky: boolean(),
  count: u32(),
  severity: severityCodec,
  summary: string(),
})

const healthEventCodec: Codec<HealthEvent> = struct<HealthEvent>({
  wallMs: f64(),
  code: string(),
  event: oneOf(['failed', 'worsened', 'cleared', 'muted', 'unmuted']),
  severity: severityCodec,
  summary: string(),
})

const crashCodec: Codec<CrashReport> = struct<CrashReport>({
  id: string(),
  wallMs: f64(),
  entity: string(),
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
  readonly mutes: readonly HealthMute[]
  readonly healthHistory: readonly HealthEvent[]
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
    healthHistory: array(healthEventCodec),
    crashes: array(crashCodec),
  }),
)

export const operationsCodec: Codec<Operations> = {
  write: (writer, { version, configVersion, config, configLog, mutes, healthHistory, crashes }) =>
    storedOperationsCodec.write(writer, {
      version,
      configVersion,
      config: [...config.values()],
      configLog,
      mutes: [...mutes.values()],
      healthHistory,
      crashes: [...crashes.values()],
    }),
  read(reader) {
    const stored = storedOperationsCodec.read(reader)
    return {
      ...stored,
      config: new Map(stored.config.map((option) => [optionKey(option.who, option.name), option])),
      mutes: new Map(stored.mutes.map((mute) => [mute.code, mute])),
      crashes: new Map(stored.crashes.map((crash) => [crash.id, crash])),
    }
  },
}
