/**
 * Changes of OSD states: registration, boot, down, out, in, removal. Each function decides on the draft's map and writes
 * to the draft; none reads a clock.
 *
 * Invariant 1: an OSD that comes up in a new run has been down for at least one epoch, so that every peer sees the old
 *              interval end before the new one begins. (Without it, a primary could restart between two epochs and peers
 *              would go on with a log that the new run does not have.)
 * Invariant 2: only the store whose uuid is registered may boot under an id.
 */
import { ClusterError, type Epoch, type OsdId } from '@shoal/base'
import { hasFeatures, type OsdInfo, type OsdMap, weightOne } from '@shoal/cluster-map'
import { createOrMove, locationOf, removeItem, setDeviceClass } from '@shoal/crush'
import type { OsdBoot } from '@shoal/monitor-client'
import type { MonitorSettings } from '../config.ts'
import type { ProposalDraft } from '../state/proposal-draft.ts'
import { isPlaced } from './crush-topology.ts'

const never = 0 as Epoch

/** The smallest share that CRUSH can express with some precision: about 1 GiB. */
const crushWeightMin = 0.001

/** Ids are small numbers that arrays are indexed by; a wild one would make every map huge. */
const osdIdMax = 10_000

/** As registered and never booted. */
export function newOsd(id: OsdId, uuid: string): OsdInfo {
  return {
    id,
    uuid,
    up: false,
    weight: 0,
    // Comes in by itself when it first boots.
    autoOut: true,
    primaryAffinity: weightOne,
    addresses: undefined,
    incarnation: 0,
    upFrom: never,
    upThru: never,
    downAt: never,
    lostAt: never,
    lastCleanBegin: never,
    lastCleanEnd: never,
    features: 0,
    deviceClass: undefined,
  }
}

export function requireOsd(map: OsdMap, id: OsdId): OsdInfo {
  const osd = map.osds.get(id)
  if (osd === undefined) throw new ClusterError('ENOENT', `osd.${id} does not exist`, { hint: 'shoal osd tree' })
  return osd
}

/** Registers an id for a store; the lowest free one unless named. The same uuid gets the same id again. */
export function registerOsd(draft: ProposalDraft, uuid: string, wanted: OsdId | undefined): OsdId {
  const { map } = draft
  for (const osd of map.osds.values()) {
    if (osd.uuid !== uuid) continue
    if (wanted !== undefined && osd.id !== wanted) {
      throw new ClusterError('EEXIST', `the store ${uuid} is osd.${osd.id} already`)
    }
    return osd.id
  }
  let id = wanted ?? (0 as OsdId)
  if (wanted === undefined) while (map.osds.has(id) && map.osds.get(id)?.uuid !== '') id = (id + 1) as OsdId
  if (id > osdIdMax) throw new ClusterError('EINVAL', `osd.${id}: ids go up to ${osdIdMax}`)
  const present = map.osds.get(id)
  if (present !== undefined && present.uuid !== '') {
    throw new ClusterError('EEXIST', `osd.${id} belongs to another store`, {
      hint: `shoal osd destroy ${id} --yes-i-really-mean-it, if its data is gone`,
    })
  }
  draft.osd.setOsd(present === undefined ? newOsd(id, uuid) : { ...present, uuid })
  draft.log('info', `osd.${id} registered for store ${uuid}`)
  return id
}

export type BootResult = 'up' | 'again' | 'refused'

/**
 * `up`: the draft marks it up. `again`: the draft first ends its former run, boot once more in the next epoch.
 * `refused`: a flag forbids it now. Throws EEXIST, EPERM or ENOENT for an OSD that may not join at all.
 */
export function bootOsd(draft: ProposalDraft, boot: OsdBoot, settings: MonitorSettings): BootResult {
  const known = draft.map.osds.get(boot.osd)
  if ((known === undefined || known.uuid === '') && settings.mon_osd_auto_create) {
    registerOsd(draft, boot.uuid, boot.osd)
  }
  const osd = requireOsd(draft.map, boot.osd)
  if (osd.uuid !== boot.uuid) {
    throw new ClusterError('EEXIST', `osd.${osd.id} belongs to another store (${osd.uuid})`, {
      hint: `shoal osd destroy ${osd.id} --yes-i-really-mean-it, if that store's data is gone`,
    })
  }
  if (!hasFeatures(boot.features, draft.map.requiredFeatures)) {
    throw new ClusterError('EPERM', `osd.${osd.id} lacks features that this cluster requires`, {
      hint: 'upgrade that OSD',
    })
  }
  if (osd.up && osd.incarnation === boot.incarnation) return 'up'
  if (osd.up) {
    markDown(draft, osd, 'a new run of it boots')
    return 'again'
  }
  // Marked down by what shares this epoch: down and up in one would be an interval that nobody sees end, and that begins
  // before its members are up, so that no up_thru is ever given for it.
  if (draft.osd.base.osds.get(osd.id)?.up === true) return 'again'
  if (draft.map.flags.has('noup')) return 'refused'
  const { map } = draft
  const isNew = osd.upFrom === never
  const comesIn = osd.weight === 0 && osd.autoOut && !map.flags.has('noin') && mayComeIn(isNew, settings)
  draft.osd.setOsd({
    ...osd,
    up: true,
    addresses: boot.addresses,
    incarnation: boot.incarnation,
    features: boot.features,
    upFrom: draft.osd.epoch,
    deviceClass: osd.deviceClass ?? boot.deviceClass,
    ...(comesIn ? { weight: weightOne, autoOut: false } : {}),
  })
  if (isNew || !isPlaced(map.crush, osd.id) || moves(map, boot, settings)) place(draft, boot)
  draft.log('info', `osd.${osd.id} (${boot.addresses.data}) boots`)
  return 'up'
}

function mayComeIn(isNew: boolean, settings: MonitorSettings): boolean {
  return isNew ? settings.mon_osd_auto_mark_new_in : settings.mon_osd_auto_mark_auto_out_in
}

/** Whether the host that it reports differs from the one it hangs under. */
function moves(map: OsdMap, boot: OsdBoot, settings: MonitorSettings): boolean {
  if (!settings.osd_crush_update_on_start) return false
  const now = locationOf(map.crush, boot.osd)
  return Object.entries(boot.crushLocation).some(([type, name]) => now[type] !== name)
}

/** An OSD that has a weight keeps it; the reported one is for a new OSD. */
function place(draft: ProposalDraft, boot: OsdBoot): void {
  const name = `osd.${boot.osd}`
  const location = Object.keys(boot.crushLocation).length === 0 ? { root: 'default' } : boot.crushLocation
  let crush = createOrMove(draft.map.crush, boot.osd, name, Math.max(boot.crushWeight, crushWeightMin), location)
  const deviceClass = draft.map.osds.get(boot.osd)?.deviceClass
  if (deviceClass !== undefined && !crush.itemClasses.has(boot.osd)) {
    crush = setDeviceClass(crush, boot.osd, deviceClass)
  }
  draft.osd.setCrush(crush)
}

export function markDown(draft: ProposalDraft, osd: OsdInfo, why: string): void {
  if (!osd.up) return
  draft.osd.setOsd({ ...osd, up: false, downAt: draft.osd.epoch })
  draft.log('warn', `osd.${osd.id} marked down: ${why}`)
}

/** A clean goodbye of this run. False: another run, or down already. */
export function shutDownOsd(draft: ProposalDraft, id: OsdId, incarnation: number): boolean {
  const osd = draft.map.osds.get(id)
  if (osd?.up !== true || osd.incarnation !== incarnation) return false
  draft.osd.setOsd({
    ...osd,
    up: false,
    downAt: draft.osd.epoch,
    lastCleanBegin: osd.upFrom,
    lastCleanEnd: draft.osd.epoch,
  })
  draft.log('info', `osd.${id} shut down`)
  return true
}

export function markOut(draft: ProposalDraft, osd: OsdInfo, auto: boolean): boolean {
  if (osd.weight === 0) return false
  draft.osd.setOsd({ ...osd, weight: 0, autoOut: auto })
  draft.log('info', `osd.${osd.id} marked out${auto ? ', it was down for too long' : ''}`)
  return true
}

export function markIn(draft: ProposalDraft, osd: OsdInfo): boolean {
  if (osd.weight > 0) return false
  draft.osd.setOsd({ ...osd, weight: weightOne, autoOut: false })
  draft.log('info', `osd.${osd.id} marked in`)
  return true
}

/** The id stays with its place in CRUSH; the store behind it is gone and a new one may take the id. */
export function destroyOsd(draft: ProposalDraft, osd: OsdInfo): void {
  requireDown(osd, 'destroy')
  draft.osd.setOsd({ ...osd, uuid: '', lostAt: osd.downAt })
  draft.log('info', `osd.${osd.id} destroyed`)
}

export function removeOsd(draft: ProposalDraft, osd: OsdInfo): void {
  requireDown(osd, 'remove')
  draft.osd.removeOsd(osd.id)
  const { crush } = draft.map
  if (crush.names.has(osd.id)) draft.osd.setCrush(removeItem(crush, `osd.${osd.id}`))
  draft.log('info', `osd.${osd.id} removed`)
}

export function requireDown(osd: OsdInfo, verb: string): void {
  if (osd.up) {
    throw new ClusterError('EBUSY', `osd.${osd.id} is up: stop it before you ${verb} it`, {
      hint: `shoal daemon stop osd.${osd.id}`,
    })
  }
}

/** Records that the OSD could serve through this epoch. */
export function raiseUpThru(draft: ProposalDraft, id: OsdId, epoch: Epoch): void {
  const osd = draft.map.osds.get(id)
  if (osd?.up !== true || epoch < osd.upFrom || epoch <= osd.upThru || epoch > draft.map.epoch) return
  draft.osd.setOsd({ ...osd, upThru: epoch })
}
