/** Commands about the cluster as a whole: status, monitors, log. */
import { type Address, ClusterError, parseAddress } from '@shoal/base'
import type { MonitorInfo } from '@shoal/cluster-map'
import type { ClusterStatus, MonitorStat } from '@shoal/monitor-client'
import { z } from 'zod'
import { healthReport } from '../health/health-report.ts'
import { planMonitorRemoval } from '../services/monitor-membership.ts'
import {
  type ClusterView,
  type Command,
  done,
  noArguments,
  numberArgument,
  readCommand,
  writeCommand,
} from './command.ts'
import { osdStat } from './osd-reports.ts'
import { pgSummary } from './pgs.ts'
import { clusterUsage } from './usage.ts'

function monitorStat(view: ClusterView): MonitorStat {
  const { monitorMap } = view.state
  const nameOf = (id: number) => monitorMap.monitors.find((monitor) => monitor.id === id)?.name
  const inQuorum = (monitor: MonitorInfo) => view.quorum.members.includes(monitor.id)
  return {
    fsid: monitorMap.fsid,
    epoch: monitorMap.epoch,
    leader: nameOf(view.quorum.leaderId),
    term: view.quorum.term,
    quorum: monitorMap.monitors.filter(inQuorum).map((monitor) => monitor.name),
    outOfQuorum: monitorMap.monitors.filter((monitor) => !inQuorum(monitor)).map((monitor) => monitor.name),
    monitors: monitorMap.monitors,
  }
}

function status(view: ClusterView): ClusterStatus {
  return {
    fsid: view.map.fsid,
    health: healthReport(view),
    monitors: monitorStat(view),
    osdMap: osdStat(view.map),
    pgMap: pgSummary(view),
    wallMs: view.wallMs,
  }
}

const reports: readonly Command[] = [
  readCommand('status', noArguments, (_args, view) => done('', status(view))),
  readCommand('fsid', noArguments, (_args, { map }) => done(map.fsid, { fsid: map.fsid })),
  readCommand('df', noArguments, (_args, view) => done('', clusterUsage(view))),
]

const monitorName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'letters, digits and - _ . only')

const addArguments = z.object({
  name: monitorName,
  addr: z.string().optional(),
  address: z.string().optional(),
  /** Drawn at random by the new monitor's store. */
  id: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
})

const monitors: readonly Command[] = [
  ...['mon stat', 'quorum_status'].map((prefix) =>
    readCommand(prefix, noArguments, (_args, view) => {
      const stat = monitorStat(view)
      return done(`${stat.monitors.length} monitors, quorum ${stat.quorum.join(',')}`, stat)
    }),
  ),
  readCommand('mon settings', noArguments, (_args, { settings }) => done('', settings)),
  readCommand('mon dump', noArguments, (_args, { state }) => done('', state.monitorMap)),
  writeCommand('mon add', addArguments, (args, { draft }) => {
    const text = args.addr ?? args.address ?? ''
    const address = parseAddress(text)
    if (address === undefined || address.port === 0) {
      throw new ClusterError('EINVAL', `'${text}' is no address`, { hint: 'write HOST:PORT' })
    }
    const { monitors: present } = draft.monitorMap
    const same = present.find((monitor) => monitor.id === args.id)
    if (same !== undefined) return done(`mon.${same.name} is a member already`, draft.monitorMap)
    const clash = present.find((monitor) => monitor.name === args.name || monitor.address === text)
    if (clash !== undefined) {
      throw new ClusterError('EEXIST', `mon.${clash.name} at ${clash.address} is a member already`, {
        hint: `if its disk is gone: shoal mon remove ${clash.name}, then add it again`,
      })
    }
    draft.setMonitors([...present, { id: args.id, name: args.name, address: text as Address }])
    draft.log('info', `mon.${args.name} (${text}) joins`)
    return done(`mon.${args.name} joins, and votes once it has caught up`, draft.monitorMap)
  }),
  ...['mon rm', 'mon remove'].map((prefix) =>
    writeCommand(prefix, z.object({ name: z.string() }), (args, view) => {
      const { draft } = view
      const left = planMonitorRemoval(draft.monitorMap, args.name, view.quorum.members)
      draft.setMonitors(left)
      draft.log('warn', `mon.${args.name} removed`)
      return done(`mon.${args.name} is removed`, draft.monitorMap)
    }),
  ),
]

const logLevels = ['debug', 'info', 'warn', 'error'] as const

const log: readonly Command[] = [
  readCommand(
    'log last',
    z.object({
      num: numberArgument(z.number().int().min(1).max(10_000)).default(20),
      level: z.enum(logLevels).default('debug'),
    }),
    (args, { state }) => {
      const from = logLevels.indexOf(args.level)
      const entries = state.log.filter((entry) => logLevels.indexOf(entry.level) >= from)
      return done('', entries.slice(-args.num))
    },
  ),
  writeCommand(
    'log',
    z.object({ logtext: z.union([z.string(), z.array(z.string()).transform((words) => words.join(' '))]) }),
    (args, { draft }) => {
      if (args.logtext.length > 4_096) throw new ClusterError('E2BIG', 'a log entry has at most 4096 characters')
      draft.addLogEntry({ from: 'client', wallMs: draft.wallMs, level: 'info', message: args.logtext })
      return done('logged')
    },
  ),
]

export const clusterCommands: readonly Command[] = [...reports, ...monitors, ...log]
