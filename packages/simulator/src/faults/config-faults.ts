/** Operators change options while everything goes on. Only to values with which a cluster must keep its promises. */
import type { ConfigLogRow } from '@shoal/monitor-client'
import type { Scenario } from '../scenario/scenario.ts'
import { type Fault, nothing, pick } from './fault.ts'
import { operate } from './operations.ts'

interface SafeOption {
  readonly service: 'osd' | 'mon'
  readonly name: string
  readonly values: readonly string[]
}

const osdOptions = [
  ['osd_max_backfills', ['1', '2', '5']],
  ['osd_recovery_max_active', ['1', '2', '8']],
  ['osd_target_pg_log_entries_per_osd', ['64', '1000', '24000']],
  ['osd_min_pg_log_entries', ['8', '50', '200']],
  ['osd_pg_log_dups_tracked', ['100', '2000']],
  ['osd_heartbeat_interval', ['0.2', '0.3']],
  ['osd_heartbeat_idle_interval', ['0', '1', '2s']],
  ['osd_heartbeat_min_peers', ['2', '10']],
  ['osd_client_message_size_cap', ['64K', '48M']],
  ['osd_op_complaint_time', ['1', '10']],
  ['osd_map_keep', ['20', '500']],
  ['osd_mon_report_interval', ['1', '3']],
  ['osd_mon_report_refresh', ['20', '1m']],
] as const
const monitorOptions = [
  ['mon_osd_down_out_interval', ['10', '30', '10m']],
  ['mon_osd_min_down_reporters', ['1', '2']],
  ['mon_osd_adjust_heartbeat_grace', ['true', 'no']],
  ['mon_min_osdmap_epochs', ['10', '500']],
  ['mon_log_max', ['20', '1000']],
] as const
const safeOptions: readonly SafeOption[] = [
  ...osdOptions.map(([name, values]) => ({ service: 'osd' as const, name, values })),
  ...monitorOptions.map(([name, values]) => ({ service: 'mon' as const, name, values })),
]

/** All for whom an option of these daemons can be set. */
function targets({ service }: SafeOption, { osds, monitors }: Omit<Scenario, 'faults'>): readonly string[] {
  if (service === 'mon') {
    return ['global', 'mon', ...Array.from({ length: monitors }, (_, i) => `mon.${String.fromCharCode(97 + i)}`)]
  }
  const places = osds.flatMap(({ id, host, rack }) => [`osd.${id}`, `osd/host:${host}`, `osd/rack:${rack}`])
  return ['global', 'osd', 'osd', 'osd/root:default', ...places]
}

const configSet: Fault = {
  kind: 'config-set',
  family: 'operator',
  weight: 3,
  draw(random, plan) {
    const option = pick(random, safeOptions)
    const { name } = option
    return { who: pick(random, targets(option, plan)), name, value: pick(random, option.values) }
  },
  strike({ cluster, background }, { who, name, value }) {
    background(`config set ${String(who)} ${String(name)}`, async () => {
      await operate(cluster, { prefix: 'config set', who, name, value, by: 'operator' })
    })
    return nothing
  },
}

/** Takes the latest changes back, some of them by hand, or a few at once. */
const configBack: Fault = {
  kind: 'config-back',
  family: 'operator',
  weight: 1,
  draw: (random) => ({ steps: random.below(4) }),
  strike({ cluster, background }, { steps }) {
    background('config back', async () => {
      const { data } = await operate(cluster, { prefix: 'config log', num: 10 })
      const rows = data as readonly ConfigLogRow[]
      const [latest] = rows
      if (latest === undefined) return
      if (steps === 0) {
        for (const { who, name } of latest.options) await operate(cluster, { prefix: 'config rm', who, name })
        return
      }
      const num = Math.max(0, latest.version - (steps as number))
      await operate(cluster, { prefix: 'config reset', num, by: 'operator' })
    })
    return nothing
  },
}

export const configFaults: readonly Fault[] = [configSet, configBack]
