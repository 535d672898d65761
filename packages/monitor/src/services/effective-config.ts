/** What the stored configuration says for one daemon, by its place in the CRUSH map. */
import type { OsdMap } from '@shoal/cluster-map'
import { locationOf } from '@shoal/crush'
import { type EffectiveConfig, effectiveValues, type Subject } from '@shoal/monitor-client'
import type { Operations } from '../state/operations.ts'

/**
 * Whoever calls itself `osd.N` or `mon.NAME` is one, everybody else a client. An OSD stands where the CRUSH map has it;
 * the others, and an OSD that it does not have yet, on the machine that they name.
 */
export function subjectOf(entity: string, host: string, map: OsdMap): Subject {
  const there: Subject['location'] = host === '' ? {} : { host }
  if (entity.startsWith('mon.')) return { service: 'mon', name: entity, location: there }
  const id = /^osd\.(\d{1,7})$/.exec(entity)?.[1]
  if (id === undefined) return { service: 'client', name: entity, location: there }
  const { crush } = map
  const classId = crush.itemClasses.get(Number(id))
  const location = locationOf(crush, Number(id))
  return {
    service: 'osd',
    name: entity,
    deviceClass: classId === undefined ? undefined : crush.classNames.get(classId),
    location: Object.keys(location).length === 0 ? there : location,
  }
}

/** Undefined while nothing was ever configured: then daemons go by what they were started with. */
export function effectiveConfig(
  operations: Operations | undefined,
  map: OsdMap,
  entity: string,
  host: string,
): EffectiveConfig | undefined {
  if (operations === undefined || operations.configVersion === 0) return undefined
  const values = effectiveValues(operations.config.values(), subjectOf(entity, host, map))
  return { version: operations.configVersion, epoch: map.epoch, values }
}
