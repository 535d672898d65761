import { type Address, address, parseAddress } from '@shoal/base'
import type { MessengerSecurity } from '@shoal/messenger'
import type { RealEnv } from '@shoal/runtime'
import { loadSecurity } from '../local/keyring.ts'
import type { ClusterFile, ClusterLayout } from '../local/layout.ts'

/** What every daemon of a local cluster is started with. */
export interface DaemonContext {
  readonly env: RealEnv
  readonly layout: ClusterLayout
  readonly cluster: ClusterFile
  /** `mon.a`, `osd.0`, `nbd.0`. */
  readonly name: string
  readonly keyring: string | undefined
}

/** As the cluster's description says, with the key that the daemon was given or finds there. */
export function daemonSecurity({ cluster, keyring, layout }: DaemonContext): MessengerSecurity {
  return loadSecurity({ keyring, defaultKeyring: layout.keyringFile, settings: cluster })
}

export function monitorAddresses(cluster: ClusterFile): readonly Address[] {
  return cluster.monitors.map((monitor) => address(monitor.address))
}

/** The host that the cluster was told to listen on: that of its first monitor. */
export function bindHost(cluster: ClusterFile): string {
  return parseAddress(cluster.monitors[0]?.address ?? '')?.host ?? '127.0.0.1'
}

/** A daemon that listens: where, and how it ends. */
export interface RunningService {
  readonly address: string
  readonly adminAddress: string
  stop(): Promise<void>
}
