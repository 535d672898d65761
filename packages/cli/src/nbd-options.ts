/** How an NBD gateway is told what to do, by the command line or by the cluster's configuration: the one translation. */
import { readFileSync } from 'node:fs'
import { type Address, address, ClusterError } from '@shoal/base'
import type { NbdLimits, TlsOffer } from '@shoal/gateway-nbd'

export interface TlsFiles {
  readonly mode: string
  readonly certificate: string
  readonly key: string
  /** Empty: clients need no certificate. */
  readonly clientAuthority: string
}

/** Undefined when TLS is off. EINVAL for what does not fit together or cannot be read. */
export async function tlsOffer(files: TlsFiles): Promise<TlsOffer | undefined> {
  const { mode, certificate, key, clientAuthority } = files
  if (mode === 'off') return undefined
  if (mode !== 'optional' && mode !== 'required') {
    throw new ClusterError('EINVAL', `not a mode of TLS: ${mode}`, { hint: 'off, optional or required' })
  }
  if (certificate === '' || key === '') {
    throw new ClusterError('EINVAL', 'TLS needs a certificate and its key', {
      hint: '--tls-certificate FILE --tls-key FILE; for a gateway of the cluster, config set client nbd_tls_certificate FILE',
    })
  }
  const { tlsServer } = await import('@shoal/runtime')
  const credentials = {
    certificate: readPem(certificate),
    key: readPem(key),
    ...(clientAuthority === '' ? {} : { clientAuthority: readPem(clientAuthority) }),
  }
  return { mode, accept: tlsServer(credentials) }
}

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new ClusterError('EINVAL', `cannot read ${path}: ${String(cause)}`, { cause })
  }
}

export function socketAddress(path: string): Address {
  return address(`unix:${path}`)
}

export interface NbdSettings {
  readonly nbd_max_connections: number
  readonly nbd_max_export_connections: number
  readonly nbd_inflight_bytes: number
  /** Seconds, as the others. */
  readonly nbd_handshake_timeout: number
  readonly nbd_idle_timeout: number
  readonly nbd_drain_timeout: number
}

export function nbdLimits(settings: NbdSettings): NbdLimits {
  return {
    connectionsMax: settings.nbd_max_connections,
    exportConnectionsMax: settings.nbd_max_export_connections,
    inflightBytesMax: settings.nbd_inflight_bytes,
    handshakeTimeoutMs: settings.nbd_handshake_timeout * 1000,
    idleTimeoutMs: settings.nbd_idle_timeout * 1000,
    drainTimeoutMs: settings.nbd_drain_timeout * 1000,
  }
}
