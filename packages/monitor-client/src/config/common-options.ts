/** Options of every daemon: what it logs, and what it keeps of that in memory. */
import type { OptionSpec, OptionTable } from './option.ts'

export interface CommonSettings {
  readonly debug_none: string
  readonly debug_osd: string
  readonly debug_mon: string
  readonly debug_raft: string
  readonly debug_monc: string
  readonly debug_ms: string
  readonly debug_objecter: string
  readonly debug_nbd: string
  readonly debug_store: string
  readonly debug_asok_assert_abort: boolean
}

const common = { level: 'advanced', services: ['mon', 'osd', 'client'], change: 'live' } as const

function levelOf(what: string): OptionSpec {
  return {
    ...common,
    type: 'debug',
    default: '1/20',
    description: `How much is logged, and kept in memory, of ${what}.`,
  }
}

export const commonOptions: OptionTable<CommonSettings> = {
  debug_none: levelOf('what belongs to no other subsystem'),
  debug_osd: levelOf('OSDs and their placement groups'),
  debug_mon: levelOf('monitors'),
  debug_raft: levelOf('consensus between monitors'),
  debug_monc: levelOf('sessions with the monitors'),
  debug_ms: levelOf('connections between OSDs and clients'),
  debug_objecter: levelOf("a client's operations"),
  debug_nbd: levelOf('the NBD gateway'),
  debug_store: levelOf('the object store'),
  debug_asok_assert_abort: {
    ...common,
    level: 'dev',
    type: 'bool',
    default: false,
    description: 'Lets the calls `assert` and `abort` of the admin endpoint end the daemon, to try what a crash does.',
  },
}
