/** The OSD as a process starts it: over gRPC to the monitors, on the production store. */
import type { Address, Env } from '@shoal/base'
import { GrpcAdminTransport, GrpcMonitorClient } from '@shoal/monitor-client'
import { fileObjectStores } from './file-stores.ts'
import { OsdDaemon } from './osd-daemon.ts'
import type { OsdDaemonOptions, OsdParts } from './osd-options.ts'

export interface RunOsdOptions extends OsdDaemonOptions {
  readonly monitors: readonly Address[]
  /** How long to look for a monitor before giving up; the supervisor starts the process again. */
  readonly monitorTimeoutMs?: number
  readonly log?: OsdParts['log']
}

export interface RunningOsd {
  readonly address: Address
  readonly adminAddress: Address
  stop(): Promise<void>
}

const monitorTimeoutMsDefault = 120_000

/** Resolves once it listens. Rejects with what `OsdDaemon.start` rejects with. */
export async function runOsd(env: Env, options: RunOsdOptions): Promise<RunningOsd> {
  const monitor = new GrpcMonitorClient(env, {
    monitors: options.monitors,
    entity: `osd.${options.id}`,
    host: options.crushLocation['host'] ?? '',
    startTimeoutMs: options.monitorTimeoutMs ?? monitorTimeoutMsDefault,
  })
  const daemon = await OsdDaemon.start(env, options, {
    monitor,
    stores: fileObjectStores,
    admin: new GrpcAdminTransport(env),
    ...(options.log === undefined ? {} : { log: options.log }),
  })
  const { data, admin } = daemon.listening
  return { address: data, adminAddress: admin, stop: () => daemon.stop() }
}
