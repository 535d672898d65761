/** Commands that read the OSD map and the statistics of OSDs. */
import { ClusterError, type Epoch, encode, type OsdId } from '@shoal/base'
import { type OsdInfo, type OsdMap, osdMapCodec, pgIdsOf, placeObject, weightOne } from '@shoal/cluster-map'
import { type CrushTreeNode, treeOf } from '@shoal/crush'
import type { OsdRow, OsdStat, OsdTreeNode, OsdUsageRow, PlacementReply } from '@shoal/monitor-client'
import { z } from 'zod'
import { deviceWeight } from '../services/crush-topology.ts'
import { type ClusterView, type Command, done, noArguments, numberArgument, readCommand } from './command.ts'
import { poolRow, requirePool } from './pool-rows.ts'

export const osdReports: readonly Command[] = [
  readCommand('osd stat', noArguments, (_args, view) => {
    const stat = osdStat(view.map)
    return done(`${stat.osds} osds: ${stat.up} up, ${stat.in} in; epoch ${stat.epoch}`, stat)
  }),
  readCommand('osd ls', noArguments, (_args, { map }) => done('', sortedOsds(map).map(osdRow))),
  readCommand('osd tree', noArguments, (_args, { map }) => done('', osdTree(map))),
  readCommand('osd df', noArguments, (_args, view) => {
    const primaries = countPrimaries(view)
    return done(
      '',
      sortedOsds(view.map).map((osd) => usageRow(osd, primaries.get(osd.id) ?? 0, view)),
    )
  }),
  readCommand('osd dump', z.object({ epoch: numberArgument(z.number().int().positive()).optional() }), (args, view) =>
    done('', dump(args.epoch === undefined ? view.map : view.state.osdMaps.at(args.epoch as Epoch))),
  ),
  readCommand(
    'osd getmap',
    z.object({ epoch: numberArgument(z.number().int().positive()).optional() }),
    (args, view) => {
      const map = args.epoch === undefined ? view.map : view.state.osdMaps.at(args.epoch as Epoch)
      return done(`got osdmap epoch ${map.epoch}`, { epoch: map.epoch, map: base64(encode(osdMapCodec, map)) })
    },
  ),
  readCommand(
    'osd map',
    z.object({ pool: z.string(), object: z.string().min(1), nspace: z.string().default('') }),
    (args, view) => done('', mapObject(args, view)),
  ),
]

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function sortedOsds(map: OsdMap): readonly OsdInfo[] {
  return [...map.osds.values()].sort((a, b) => a.id - b.id)
}

export function osdStat(map: OsdMap): OsdStat {
  const osds = [...map.osds.values()]
  return {
    epoch: map.epoch,
    osds: osds.length,
    up: osds.filter((osd) => osd.up).length,
    in: osds.filter((osd) => osd.weight > 0).length,
    flags: [...map.flags].sort(),
  }
}

function osdRow(osd: OsdInfo): OsdRow {
  const { addresses, deviceClass, weight, primaryAffinity, features: _features, ...rest } = osd
  return {
    ...rest,
    in: weight > 0,
    weight: weight / weightOne,
    primaryAffinity: primaryAffinity / weightOne,
    ...(deviceClass === undefined ? {} : { deviceClass }),
    ...(addresses === undefined ? {} : { addresses }),
  }
}

function osdTree(map: OsdMap): readonly OsdTreeNode[] {
  const rows: OsdTreeNode[] = []
  const visit = (node: CrushTreeNode) => {
    rows.push(treeRow(node, map))
    for (const child of node.children) visit(child)
  }
  for (const root of treeOf(map.crush)) visit(root)
  const shown = new Set(rows.map((row) => row.id))
  for (const osd of sortedOsds(map)) {
    if (shown.has(osd.id)) continue
    rows.push({ id: osd.id, name: `osd.${osd.id}`, type: 'osd', depth: 0, crushWeight: 0, ...stateOf(osd) })
  }
  return rows
}

function treeRow(node: CrushTreeNode, map: OsdMap): OsdTreeNode {
  const osd = node.id >= 0 ? map.osds.get(node.id as OsdInfo['id']) : undefined
  return {
    id: node.id,
    name: node.name,
    type: node.type,
    depth: node.depth,
    crushWeight: node.weight / weightOne,
    ...(node.deviceClass === undefined ? {} : { deviceClass: node.deviceClass }),
    ...(osd === undefined ? {} : stateOf(osd)),
  }
}

function stateOf(osd: OsdInfo): Pick<OsdTreeNode, 'status' | 'reweight' | 'primaryAffinity'> {
  return {
    status: osd.uuid === '' ? 'destroyed' : osd.up ? 'up' : 'down',
    reweight: osd.weight / weightOne,
    primaryAffinity: osd.primaryAffinity / weightOne,
  }
}

/** Of the PGs of all pools. */
function countPrimaries(view: ClusterView): ReadonlyMap<OsdId, number> {
  const placement = view.placement()
  const counts = new Map<OsdId, number>()
  for (const pool of view.map.pools.values()) {
    for (const id of pgIdsOf(pool)) {
      const { actingPrimary } = placement.mapping(id)
      counts.set(actingPrimary, (counts.get(actingPrimary) ?? 0) + 1)
    }
  }
  return counts
}

function usageRow(osd: OsdInfo, primaries: number, view: ClusterView): OsdUsageRow {
  const stats = view.statistics.osd(osd.id)
  return {
    id: osd.id,
    status: osd.up ? 'up' : 'down',
    crushWeight: deviceWeight(view.map.crush, osd.id) / weightOne,
    reweight: osd.weight / weightOne,
    totalBytes: stats?.totalBytes ?? 0,
    usedBytes: stats?.usedBytes ?? 0,
    metadataBytes: stats?.metadataBytes ?? 0,
    pgs: stats?.pgs ?? 0,
    primaries,
  }
}

function dump(map: OsdMap): unknown {
  return {
    epoch: map.epoch,
    fsid: map.fsid,
    createdMs: map.createdMs,
    modifiedMs: map.modifiedMs,
    flags: [...map.flags].sort(),
    nearfullRatio: map.nearfullRatio,
    backfillfullRatio: map.backfillfullRatio,
    fullRatio: map.fullRatio,
    pools: [...map.pools.values()].map((pool) => poolRow(pool, map)),
    osds: sortedOsds(map).map(osdRow),
    pgTemp: [...map.pgTemp].map(([pgId, osds]) => ({ pgId, osds })),
    upmap: [...map.upmap].map(([pgId, osds]) => ({ pgId, osds })),
    upmapItems: [...map.upmapItems].map(([pgId, items]) => ({ pgId, items })),
    upmapPrimaries: [...(map.upmapPrimaries ?? [])].map(([pgId, primary]) => ({ pgId, primary })),
    blocklist: [...map.blocklist].map(([session, untilMs]) => ({ session, untilMs })),
  }
}

function mapObject(
  args: { readonly pool: string; readonly object: string; readonly nspace: string },
  view: ClusterView,
): PlacementReply {
  const pool = requirePool(view.map, args.pool)
  const { pgId } = placeObject(view.map, pool.id, args.nspace, args.object)
  return { epoch: view.map.epoch, pool: pool.name, object: args.object, pgId, ...view.placement().mapping(pgId) }
}

/** For arguments that carry binary maps. */
export function fromBase64(text: string): Uint8Array {
  const bytes = new Uint8Array(Buffer.from(text, 'base64'))
  if (bytes.length === 0) throw new ClusterError('EINVAL', 'an empty map', { hint: 'it travels in base64' })
  return bytes
}
