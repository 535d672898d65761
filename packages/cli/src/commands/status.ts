/** `shoal status` for people: the page that `ceph -s` shows, in its order. */
import type { ClusterStatus, IoRatesReply } from '@shoal/monitor-client'
import { formatBytes, formatDuration } from '../output/units.ts'
import { formatHealthStatus } from './health.ts'

export function formatStatus(status: ClusterStatus): string {
  const { health, monitors, osdMap, pgMap } = status
  const lines = ['  cluster:', `    id:     ${status.fsid}`, `    health: ${formatHealthStatus(health)}`]
  lines.push(
    ...health.checks.filter((check) => !check.muted).map((check) => `            ${check.summary}`),
    '',
    '  services:',
  )
  lines.push(
    `    mon: ${monitors.monitors.length} daemons, quorum ${monitors.quorum.join(',')} (leader ${monitors.leader ?? 'none'})`,
  )
  if (monitors.outOfQuorum.length > 0) lines.push(`         out of quorum: ${monitors.outOfQuorum.join(', ')}`)
  lines.push(`    osd: ${osdMap.osds} osds: ${osdMap.up} up, ${osdMap.in} in (epoch ${osdMap.epoch})`)
  if (osdMap.flags.length > 0) lines.push(`         flags ${osdMap.flags.join(',')}`)
  lines.push('', '  data:', `    pools:   ${pgMap.pools} pools, ${pgMap.pgs} pgs`)
  lines.push(`    objects: ${pgMap.objects} objects, ${formatBytes(pgMap.bytes)}`)
  const free = Math.max(0, pgMap.totalBytes - pgMap.usedBytes)
  lines.push(
    `    usage:   ${formatBytes(pgMap.usedBytes)} used, ${formatBytes(free)} / ${formatBytes(pgMap.totalBytes)} avail`,
  )
  lines.push(...copyLines(pgMap), ...stateLines(pgMap.states), ...ioLines(pgMap))
  return lines.join('\n')
}

function stateLines(states: ClusterStatus['pgMap']['states']): readonly string[] {
  const width = Math.max(0, ...states.map(({ count }) => String(count).length))
  return states.map(
    ({ state, count }, i) => `${i === 0 ? '    pgs:     ' : '             '}${String(count).padStart(width)} ${state}`,
  )
}

function copyLines(pgMap: ClusterStatus['pgMap']): readonly string[] {
  const share = (count: number): string =>
    `${count}/${pgMap.copies} copies (${((100 * count) / Math.max(1, pgMap.copies)).toFixed(3)} %)`
  const lines: string[] = []
  if (pgMap.degradedCopies > 0) lines.push(`             ${share(pgMap.degradedCopies)} degraded`)
  if (pgMap.misplacedCopies > 0) lines.push(`             ${share(pgMap.misplacedCopies)} misplaced`)
  if (pgMap.unfoundObjects > 0) lines.push(`             ${pgMap.unfoundObjects} objects unfound`)
  return lines
}

function ioLines(pgMap: ClusterStatus['pgMap']): readonly string[] {
  const { io } = pgMap
  const lines: string[] = []
  if (io.readOpsPerSecond + io.writeOpsPerSecond >= 0.5) {
    lines.push(
      `    client:   ${formatBytes(io.readBytesPerSecond)}/s rd, ${formatBytes(io.writeBytesPerSecond)}/s wr, ` +
        `${Math.round(io.readOpsPerSecond)} op/s rd, ${Math.round(io.writeOpsPerSecond)} op/s wr`,
    )
  }
  if (io.recoveredObjectsPerSecond >= 0.5) lines.push(recoveryLine(io, pgMap.degradedCopies + pgMap.misplacedCopies))
  return lines.length === 0 ? [] : ['', '  io:', ...lines]
}

function recoveryLine(io: IoRatesReply, copiesLeft: number): string {
  const leftMs = (copiesLeft / io.recoveredObjectsPerSecond) * 1000
  return `    recovery: ${formatBytes(io.recoveredBytesPerSecond)}/s, ${Math.round(io.recoveredObjectsPerSecond)} objects/s, about ${formatDuration(leftMs)} left`
}
