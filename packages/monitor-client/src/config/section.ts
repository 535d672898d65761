/**
 * For whom a value is meant: a section, and masks that narrow it.
 *
 *     global                     every daemon and client
 *     mon, osd, client           all of a kind
 *     osd.3                      one
 *     osd/class:ssd              OSDs of a device class
 *     osd/host:a, osd/rack:r     what stands below a bucket of the CRUSH map
 *     osd/class:ssd/host:a       both
 *
 * Of the values that fit a daemon the most precise one counts: section before mask; within a section no mask, then a
 * class, then a bucket, and a nearer bucket before a farther one. As in Ceph:
 * https://docs.ceph.com/en/latest/rados/configuration/ceph-conf/#configuration-sections
 */
import { ClusterError } from '@shoal/base'
import type { Service } from './option.ts'

export interface Target {
  /** `global`, `osd`, `osd.3`. */
  readonly section: string
  readonly deviceClass: string | undefined
  readonly bucket: { readonly type: string; readonly name: string } | undefined
}

/** Who asks for its values. */
export interface Subject {
  readonly service: Service
  /** `osd.3` */
  readonly name: string
  readonly deviceClass?: string | undefined
  /** Bucket names by CRUSH type, the nearest first: `{host: 'a', rack: 'r', root: 'default'}`. */
  readonly location: Readonly<Record<string, string>>
}

const services: readonly string[] = ['mon', 'osd', 'client'] satisfies Service[]
const word = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/
const howWritten = 'global, mon, osd, client, a daemon like osd.3, and masks like osd/class:ssd or osd/host:NAME'

/** Throws EINVAL for what nobody could be. */
export function parseTarget(text: string): Target {
  const [section = '', ...masks] = text.trim().split('/')
  const problem = sectionProblem(section)
  if (problem !== undefined) throw new ClusterError('EINVAL', `'${text}': ${problem}`, { hint: howWritten })
  let deviceClass: string | undefined
  let bucket: Target['bucket']
  for (const mask of masks) {
    const [kind = '', name = '', ...more] = mask.split(':')
    if (more.length > 0 || !word.test(kind) || !word.test(name)) {
      throw new ClusterError('EINVAL', `'${mask}' is no mask`, { hint: 'class:NAME, host:NAME, rack:NAME, ...' })
    }
    if (kind === 'class' ? deviceClass !== undefined : bucket !== undefined) {
      throw new ClusterError('EINVAL', `'${text}' has two masks of one kind`, { hint: howWritten })
    }
    if (kind === 'class') deviceClass = name
    else bucket = { type: kind, name }
  }
  if (masks.length > 0 && section.includes('.')) {
    throw new ClusterError('EINVAL', `${section} is one daemon: a mask cannot narrow it`, { hint: howWritten })
  }
  return { section, deviceClass, bucket }
}

/** The one way to write it: what is stored. */
export function formatTarget({ section, deviceClass, bucket }: Target): string {
  const byClass = deviceClass === undefined ? '' : `/class:${deviceClass}`
  return `${section}${byClass}${bucket === undefined ? '' : `/${bucket.type}:${bucket.name}`}`
}

function sectionProblem(section: string): string | undefined {
  if (section === 'global' || services.includes(section)) return undefined
  const dot = section.indexOf('.')
  const service = section.slice(0, Math.max(0, dot))
  const name = section.slice(dot + 1)
  if (!services.includes(service)) return `there is no section '${section}'`
  if (service === 'osd' && !/^(0|[1-9]\d{0,6})$/.test(name)) return `osd.${name} is no OSD`
  return word.test(name) ? undefined : `${service}.${name} is no name`
}

/** Which daemons the section may mean: one kind, or all for `global`. */
export function serviceOf(section: string): Service | undefined {
  return services.find((service) => section === service || section.startsWith(`${service}.`)) as Service | undefined
}

/** `osd.3` as one who asks. Throws EINVAL for a section that is nobody in particular. */
export function subjectNamed(name: string, location: Subject['location'] = {}, deviceClass?: string): Subject {
  const { section } = parseTarget(name)
  const service = serviceOf(section)
  if (service === undefined || !section.includes('.')) {
    throw new ClusterError('EINVAL', `'${name}' is no daemon`, { hint: 'one daemon, for instance osd.3 or mon.a' })
  }
  return { service, name: section, deviceClass, location }
}

/** How precisely it means this subject, for comparison; undefined when it does not. */
export function precisionOf(target: Target, subject: Subject): number | undefined {
  const { section, deviceClass, bucket } = target
  const rank = section === 'global' ? 0 : section === subject.service ? 1 : section === subject.name ? 2 : undefined
  if (rank === undefined) return undefined
  if (deviceClass !== undefined && deviceClass !== subject.deviceClass) return undefined
  let nearness = 0
  if (bucket !== undefined) {
    if (subject.location[bucket.type] !== bucket.name) return undefined
    const types = Object.keys(subject.location)
    nearness = types.length - types.indexOf(bucket.type)
  }
  return rank * 10_000 + nearness * 10 + (deviceClass === undefined ? 0 : 1)
}
