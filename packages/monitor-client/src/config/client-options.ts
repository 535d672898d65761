/** Options of whoever uses the cluster: gateways and programs. */
import { type CommonSettings, commonOptions } from './common-options.ts'
import type { OptionTable } from './option.ts'

export interface ClientSettings extends CommonSettings {
  readonly objecter_inflight_ops: number
  readonly objecter_inflight_op_bytes: number
  readonly nbd_max_connections: number
  readonly nbd_max_export_connections: number
  readonly nbd_inflight_bytes: number
  readonly nbd_handshake_timeout: number
  readonly nbd_idle_timeout: number
  readonly nbd_drain_timeout: number
  readonly nbd_read_only: boolean
  readonly nbd_socket: string
  readonly nbd_tls: string
  readonly nbd_tls_certificate: string
  readonly nbd_tls_key: string
  readonly nbd_tls_client_authority: string
}

const live = { level: 'advanced', services: ['client'], change: 'live' } as const
const atStart = { level: 'advanced', services: ['client'], change: 'restart' } as const

/** Of NBD gateways, by the names of which they can be set for one: `client.nbd.0`. */
const nbdOptions = {
  nbd_max_connections: {
    ...live,
    type: 'uint',
    default: 1024,
    min: 1,
    max: 65_536,
    unit: 'connections',
    description: 'Connections that an NBD gateway serves; further ones are told so, and refused.',
  },
  nbd_max_export_connections: {
    ...live,
    type: 'uint',
    default: 256,
    min: 1,
    max: 65_536,
    unit: 'connections',
    description: 'Connections to one export of an NBD gateway.',
  },
  nbd_inflight_bytes: {
    ...live,
    type: 'size',
    default: 512 * 1024 * 1024,
    min: 32 * 1024 * 1024,
    max: 64 * 1024 ** 3,
    description: 'Bytes of the reads and writes that all clients of an NBD gateway have under way; more wait unread.',
  },
  nbd_handshake_timeout: {
    ...live,
    type: 'secs',
    default: 20,
    min: 1,
    max: 3_600,
    description: 'How long an NBD client may take to choose an export.',
  },
  nbd_idle_timeout: {
    ...live,
    type: 'secs',
    default: 0,
    min: 0,
    max: 30 * 86_400,
    description: 'After so long without a request an NBD client is hung up on; 0: never.',
  },
  nbd_drain_timeout: {
    ...live,
    type: 'secs',
    default: 10,
    min: 0,
    max: 14,
    description: 'How long an NBD gateway that is stopped goes on answering requests that it has begun.',
  },
  nbd_read_only: {
    ...atStart,
    type: 'bool',
    default: false,
    description: 'Whether an NBD gateway lets nobody write.',
  },
  nbd_socket: {
    ...atStart,
    type: 'str',
    default: '',
    description: 'The path of a socket that an NBD gateway listens on besides its port; none when empty.',
  },
  nbd_tls: {
    ...atStart,
    type: 'str',
    default: 'off',
    choices: ['off', 'optional', 'required'],
    description: 'Whether NBD clients may, or must, use TLS.',
  },
  nbd_tls_certificate: {
    ...atStart,
    type: 'str',
    default: '',
    description: "The file (PEM) with an NBD gateway's certificate, and those between it and its authority.",
  },
  nbd_tls_key: {
    ...atStart,
    type: 'str',
    default: '',
    description: "The file (PEM) with the key of an NBD gateway's certificate.",
  },
  nbd_tls_client_authority: {
    ...atStart,
    type: 'str',
    default: '',
    description:
      'The file (PEM) with the authority that must have signed the certificates of NBD clients; none are asked when empty.',
  },
} as const satisfies Partial<OptionTable<ClientSettings>>

export const clientOptions: OptionTable<ClientSettings> = {
  ...commonOptions,
  objecter_inflight_ops: {
    ...live,
    type: 'uint',
    default: 1024,
    min: 1,
    max: 1_000_000,
    unit: 'operations',
    description: 'Operations that one client has under way; more wait in line.',
  },
  objecter_inflight_op_bytes: {
    ...live,
    type: 'size',
    default: 128 * 1024 * 1024,
    min: 4096,
    max: 64 * 1024 ** 3,
    description: 'Bytes of the operations that one client has under way; more wait in line.',
  },
  ...nbdOptions,
}
