/** Checks of monitors, OSDs and settings: who is there, and what an operator has switched. */
import type { OsdInfo } from '@shoal/cluster-map'
import { type CrushTreeNode, treeOf } from '@shoal/crush'
import type { ClusterView } from '../commands/command.ts'
import { type CheckRow, count, type Finding, firstOf } from './health-check.ts'

function monitorsDown(view: ClusterView): Finding | undefined {
  const { monitors } = view.state.monitorMap
  if (view.quorum.leaderId === 0) {
    return {
      severity: 'error',
      summary: 'the monitors have no quorum: nothing can change',
      detail: [`${count(monitors.length, 'monitor')}, more than half must run`],
      mend: 'shoal daemon start mon.NAME',
    }
  }
  const down = monitors.filter((monitor) => !view.quorum.members.includes(monitor.id))
  if (down.length === 0) return undefined
  return {
    severity: 'warning',
    summary: `${down.length}/${monitors.length} monitors down, quorum ${monitors
      .filter((monitor) => !down.includes(monitor))
      .map((monitor) => monitor.name)
      .join(',')}`,
    detail: down.map((monitor) => `mon.${monitor.name} (${monitor.address}) is out of quorum`),
    mend: down.map((monitor) => `shoal daemon start mon.${monitor.name}`).join('; '),
  }
}

function downAndIn(view: ClusterView): readonly OsdInfo[] {
  return [...view.map.osds.values()].filter((osd) => !osd.up && osd.weight > 0).sort((a, b) => a.id - b.id)
}

function osdsDown(view: ClusterView): Finding | undefined {
  const down = downAndIn(view)
  if (down.length === 0) return undefined
  return {
    severity: 'warning',
    count: down.length,
    summary: `${count(down.length, 'osd')} down`,
    detail: firstOf(
      down.map((osd) => `osd.${osd.id} (${osd.addresses?.data ?? 'never booted'}) is down since epoch ${osd.downAt}`),
    ),
    mend: down
      .slice(0, 3)
      .map((osd) => `shoal daemon start osd.${osd.id}`)
      .join('; '),
  }
}

/** Whole subtrees of one type that are down, as Ceph's OSD_HOST_DOWN. */
function subtreesDown(type: string): CheckRow {
  return {
    code: `OSD_${type.toUpperCase()}_DOWN`,
    check(view) {
      const down: CrushTreeNode[] = []
      const visit = (node: CrushTreeNode) => {
        if (node.type === type) {
          const osds = osdsOf(node, view)
          if (osds.length > 0 && osds.every((osd) => !osd.up) && osds.some((osd) => osd.weight > 0)) down.push(node)
        }
        node.children.forEach(visit)
      }
      if (downAndIn(view).length > 0) treeOf(view.map.crush).forEach(visit)
      if (down.length === 0) return undefined
      return {
        severity: 'warning',
        count: down.length,
        summary: `${count(down.length, type)} with all OSDs down`,
        detail: firstOf(
          down.map((node) => `${type} ${node.name} (${count(osdsOf(node, view).length, 'osd')}) is down`),
        ),
        mend: `bring the ${type} back: power, network, then shoal daemon start osd.N`,
      }
    },
  }
}

function osdsOf(node: CrushTreeNode, view: ClusterView): readonly OsdInfo[] {
  if (node.id >= 0) {
    const osd = view.map.osds.get(node.id as OsdInfo['id'])
    return osd === undefined ? [] : [osd]
  }
  return node.children.flatMap((child) => osdsOf(child, view))
}

function orphans(view: ClusterView): Finding | undefined {
  const ids = [...view.map.crush.names.keys()].filter((id) => id >= 0 && !view.map.osds.has(id as OsdInfo['id']))
  if (ids.length === 0) return undefined
  return {
    severity: 'warning',
    count: ids.length,
    summary: `${count(ids.length, 'osd')} in the CRUSH map that do not exist`,
    detail: firstOf(ids.map((id) => `osd.${id} is in the CRUSH map only`)),
    mend: `shoal crush rm osd.${ids[0]}`,
  }
}

function flags(view: ClusterView): Finding | undefined {
  const set = [...view.map.flags].filter((flag) => flag !== 'full' && flag !== 'nobalance').sort()
  if (set.length === 0) return undefined
  return {
    severity: 'warning',
    summary: `${set.join(',')} flag(s) set`,
    detail: set.map((flag) => `flag ${flag} is set`),
    mend: set.map((flag) => `shoal osd unset ${flag}`).join('; '),
  }
}

function tooFewOsds(view: ClusterView): Finding | undefined {
  const wanted = view.settings.osd_pool_default_size
  if (view.map.osds.size >= wanted) return undefined
  return {
    severity: 'warning',
    summary: `OSD count ${view.map.osds.size} < osd_pool_default_size ${wanted}`,
    detail: [],
    mend: 'shoal osd add',
  }
}

function noDownOut(view: ClusterView): Finding | undefined {
  if (view.settings.mon_osd_down_out_interval > 0) return undefined
  return {
    severity: 'warning',
    summary: 'OSDs that stay down are never marked out',
    detail: ['mon_osd_down_out_interval is 0'],
    mend: 'shoal config set mon mon_osd_down_out_interval 600',
  }
}

function recentCrashes(view: ClusterView): Finding | undefined {
  const sinceMs = view.wallMs - view.settings.mon_crash_warn_recent_interval * 1_000
  const recent = [...view.operations.crashes.values()].filter(
    (crash) => crash.archivedMs === 0 && crash.wallMs >= sinceMs,
  )
  if (recent.length === 0) return undefined
  return {
    severity: 'warning',
    count: recent.length,
    summary: `${count(recent.length, 'crash report')} that nobody has archived`,
    detail: firstOf(
      recent.map(
        (crash) =>
          `${crash.entity} crashed on ${crash.host} at ${new Date(crash.wallMs).toISOString()}: ${crash.reason}`,
      ),
    ),
    mend: 'shoal crash ls-new; shoal crash info ID; then shoal crash archive-all',
  }
}

export const clusterChecks: readonly CheckRow[] = [
  { code: 'MON_DOWN', check: monitorsDown },
  { code: 'OSD_DOWN', check: osdsDown },
  ...['host', 'chassis', 'rack', 'row', 'room', 'datacenter', 'zone', 'region', 'root'].map(subtreesDown),
  { code: 'OSD_ORPHAN', check: orphans },
  { code: 'OSDMAP_FLAGS', check: flags },
  { code: 'TOO_FEW_OSDS', check: tooFewOsds },
  { code: 'OSD_NO_DOWN_OUT_INTERVAL', check: noDownOut },
  { code: 'RECENT_CRASH', check: recentCrashes },
]
