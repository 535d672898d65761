/** Options of whoever uses the cluster: gateways and programs. */
import { type CommonSettings, commonOptions } from './common-options.ts'
import type { OptionTable } from './option.ts'

export interface ClientSettings extends CommonSettings {
  readonly objecter_inflight_ops: number
  readonly objecter_inflight_op_bytes: number
}

const live = { level: 'advanced', services: ['client'], change: 'live' } as const

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
}
