/** What an OSD is started with. */
import type { Env, OsdId, PoolCompression, PoolId } from '@shoal/base'
import type { MessengerSecurity } from '@shoal/messenger'
import type { AdminTransport, LogControl, MonitorClient } from '@shoal/monitor-client'
import type { CompressionUsage, ObjectExaminer, ObjectStore } from '@shoal/object-store'
import type { OsdSettings } from './settings.ts'

/** A store may tell more about itself than the interface asks. */
export type OsdStore = ObjectStore &
  ObjectExaminer & {
    readonly perf?: () => Readonly<Record<string, unknown>>
    /** Acknowledged transactions were lost with a damaged journal. */
    readonly lostTransactions?: boolean
    readonly clearDamage?: () => Promise<void>
    /** Of these pools, writes are compressed from now on. */
    readonly setCompression?: (pools: ReadonlyMap<PoolId, PoolCompression>) => void
    readonly compressionUsage?: () => ReadonlyMap<PoolId, CompressionUsage>
  }

export interface ObjectStoreFactory {
  exists(env: Env, directory: string): Promise<boolean>
  /** With a key the store is encrypted. */
  create(env: Env, directory: string, sizeBytes: number, storeKey?: Uint8Array): Promise<void>
  /** Whether a key is needed to mount. No store is, when left out. */
  encrypted?(env: Env, directory: string): Promise<boolean>
  /** With the settings of the OSD, as far as the store has a use for them. */
  mount(env: Env, directory: string, settings: OsdSettings, storeKey?: Uint8Array): Promise<OsdStore>
}

export interface OsdDaemonOptions {
  readonly id: OsdId
  /** Holds `superblock` and `store/`; made if missing. */
  readonly dataDirectory: string
  /** Where to listen; ports are picked at each start and told to the monitors. */
  readonly bindHost: string
  /** Capacity of a store that is still to be made. */
  readonly sizeBytes: number
  /** A store that is still to be made is encrypted; needs a cluster with a key. */
  readonly encrypt?: boolean | undefined
  /** Where CRUSH places a new OSD: `{root: 'default', host: 'alpha'}`. */
  readonly crushLocation: Readonly<Record<string, string>>
  readonly deviceClass?: string
  readonly settings?: Partial<OsdSettings>
  /** What is asked of peers and clients; nothing proven and nothing sealed when left out. */
  readonly security?: MessengerSecurity | undefined
}

export interface OsdParts {
  /** Started and closed by the daemon. */
  readonly monitor: MonitorClient
  readonly stores: ObjectStoreFactory
  readonly admin: AdminTransport
  /** The process's log: its levels follow the options; `log level` is not offered without it. */
  readonly log?: LogControl
}
