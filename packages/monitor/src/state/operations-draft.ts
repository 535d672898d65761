/** Gathers changes to the operators' state into one. Later changes see earlier ones through `value`. */
import type { CrashReport, HealthEventRow, HealthMuteRow } from '@shoal/monitor-client'
import {
  applyOperations,
  type ConfigChange,
  type FailingCheck,
  noOperations,
  type Operations,
  type OperationsChange,
  optionKey,
} from './operations.ts'

const configLogMax = 500
const healthHistoryMax = 1_000

export class OperationsDraft {
  private readonly base: Operations
  private change: OperationsChange
  private preview: Operations | undefined

  constructor(base: Operations | undefined) {
    this.base = base ?? noOperations
    this.change = {
      version: this.base.version + 1,
      config: [],
      configLog: [],
      configLogMax,
      mutes: [],
      failing: [],
      healthHistory: [],
      healthHistoryMax,
      crashes: [],
    }
    this.preview = this.base
  }

  get empty(): boolean {
    const { config, configLog, mutes, failing, healthHistory, crashes } = this.change
    return [config, configLog, mutes, failing, healthHistory, crashes].every((list) => list.length === 0)
  }

  get value(): Operations {
    this.preview ??= applyOperations(this.base, this.change)
    return this.preview
  }

  /** What a failed mutation must take back. */
  checkpoint(): () => void {
    const { change, preview } = this
    return () => {
      this.change = change
      this.preview = preview
    }
  }

  /** Sets values (or removes them, without `after`) as one step of the configuration's history. */
  changeConfig(options: ConfigChange['options'], wallMs: number, by: string): number {
    const version = this.value.configVersion + 1
    this.add({
      config: options.map(({ who, name, after }) => ({
        key: optionKey(who, name),
        value: after === undefined ? undefined : { who, name, value: after },
      })),
      configLog: [{ version, wallMs, by, options }],
    })
    return version
  }

  mute(mute: HealthMuteRow): void {
    this.add({ mutes: [{ key: mute.code, value: mute }] })
  }

  unmute(code: string): void {
    this.add({ mutes: [{ key: code, value: undefined }] })
  }

  setFailing(check: FailingCheck): void {
    this.add({ failing: [{ key: check.code, value: check }] })
  }

  setCleared(code: string): void {
    this.add({ failing: [{ key: code, value: undefined }] })
  }

  addHealthEvent(event: HealthEventRow): void {
    this.add({ healthHistory: [event] })
  }

  setCrash(crash: CrashReport): void {
    this.add({ crashes: [{ key: crash.id, value: crash }] })
  }

  removeCrash(id: string): void {
    this.add({ crashes: [{ key: id, value: undefined }] })
  }

  finish(): OperationsChange {
    return this.change
  }

  private add(more: Partial<Omit<OperationsChange, 'version' | 'configLogMax' | 'healthHistoryMax'>>): void {
    const { change } = this
    this.change = {
      ...change,
      config: [...change.config, ...(more.config ?? [])],
      configLog: [...change.configLog, ...(more.configLog ?? [])],
      mutes: [...change.mutes, ...(more.mutes ?? [])],
      failing: [...change.failing, ...(more.failing ?? [])],
      healthHistory: [...change.healthHistory, ...(more.healthHistory ?? [])],
      crashes: [...change.crashes, ...(more.crashes ?? [])],
    }
    this.preview = undefined
  }
}
