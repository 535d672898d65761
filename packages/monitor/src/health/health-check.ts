/** One row of the table of checks. */
import type { OsdId } from '@shoal/base'
import type { OsdStats } from '@shoal/cluster-map'
import type { HealthCheck } from '@shoal/monitor-client'
import type { ClusterView } from '../commands/command.ts'

export type Finding = Omit<HealthCheck, 'code' | 'count' | 'muted'> & {
  /** How many of what it looks at; the lines of detail when left out. */
  readonly count?: number
}

export interface CheckRow {
  readonly code: string
  /** Undefined: all is well. */
  readonly check: (view: ClusterView) => Finding | undefined
}

export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`

/** Long lists say how many more there are. */
export function firstOf(lines: readonly string[], limit = 50): readonly string[] {
  return lines.length <= limit ? lines : [...lines.slice(0, limit), `and ${lines.length - limit} more`]
}

/** Of the OSDs that are up, by id. */
export function statsOf(view: ClusterView, holds: (stats: OsdStats) => boolean): readonly OsdStats[] {
  const ids: readonly OsdId[] = [...view.map.osds.keys()].sort((a, b) => a - b)
  return ids.flatMap((id) => {
    const stats = view.map.osds.get(id)?.up === true ? view.statistics.osd(id) : undefined
    return stats !== undefined && holds(stats) ? [stats] : []
  })
}
