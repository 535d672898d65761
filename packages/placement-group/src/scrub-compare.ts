/**
 * Compares what the members have of the objects of one chunk, and tells which copies are right.
 *
 * Right is what the log says, when it has an entry of the object; else what most of the sound copies have. A copy is sound
 * when nothing of it fails its checksum.
 *
 * *Proven* is a verdict that needs no judgement: each bad copy fails its checksum, or is not what the log says, or is not
 * there though most members have it; and the sound copies agree. Two sound copies of one version that differ prove nothing:
 * whoever is outvoted may be right, and a person must ask for the repair.
 *
 * Shards of a code differ in their data. Those that agree in all else are right when their data fits together; if it does
 * without one of them, that one is wrong, which is no proof either.
 */
import type { OsdId } from '@shoal/base'
import { compareVersions, equalVersions, type ObjectId, objectKey, type Version, zeroVersion } from '@shoal/wire'
import { type ScrubbedObject, type ScrubMap, scrubDamage } from './scrub-map.ts'
import type { InconsistentObject, InconsistentShard, ScrubError } from './scrub-record.ts'

/** What the log says of an object. */
export type Expected =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'removed' }
  | { readonly kind: 'version'; readonly version: Version }

export interface MemberMap {
  readonly osd: OsdId
  readonly objects: ScrubMap
}

/** Of an erasure-coded PG: the data of copies differs, and must fit together. */
export interface ShardCheck {
  /** So many sound shards make any other. */
  readonly needed: number
  /** Whose data does not fit that of the others: nobody's, or one's, or undefined when it cannot be told whose. */
  misfits(shards: readonly { readonly osd: OsdId; readonly dataDigest: number }[]): readonly OsdId[] | undefined
}

/** `members`: the primary first, whose copy decides between equals. */
export function compareScrubMaps(
  members: readonly MemberMap[],
  expectedOf: (object: ObjectId) => Expected,
  check?: ShardCheck,
): readonly InconsistentObject[] {
  const objects = new Map<string, ObjectId>()
  for (const member of members) for (const [key, { object }] of member.objects) objects.set(key, object)
  const found: InconsistentObject[] = []
  for (const object of objects.values()) {
    const verdict = compareObject(object, members, expectedOf(object), check)
    if (verdict !== undefined) found.push(verdict)
  }
  return found
}

function compareObject(
  object: ObjectId,
  members: readonly MemberMap[],
  expected: Expected,
  check: ShardCheck | undefined,
): InconsistentObject | undefined {
  const copies = members.map(({ osd, objects }) => ({ osd, copy: objects.get(objectKey(object)) }))
  const present = copies.filter(({ copy }) => copy !== undefined).map(({ osd }) => osd)
  const sound = copies.filter(({ copy }) => copy !== undefined && copy.damage === 0)
  const nobodyHas = sound.length === 0 && present.length * 2 < members.length
  if (expected.kind === 'removed' || (expected.kind === 'unknown' && nobodyHas)) {
    const shards = copies.map((each) => shardOf(each, each.copy === undefined ? [] : ['unexpected']))
    const good = copies.filter(({ copy }) => copy === undefined).map(({ osd }) => osd)
    return { object, version: zeroVersion, remove: true, shards, good, bad: present, proven: true, deep: false }
  }
  const candidates = sound.filter(
    ({ copy }) => expected.kind === 'unknown' || equalVersions((copy as ScrubbedObject).version, expected.version),
  )
  const groups = groupsOf(
    candidates as readonly { readonly osd: OsdId; readonly copy: ScrubbedObject }[],
    check === undefined,
  )
  const best = groups[0]
  const misfits = best === undefined || check === undefined ? [] : check.misfits(best.copies)
  const inGroup = best?.copies.map(({ osd }) => osd) ?? []
  // When it cannot be told whose data is wrong, nobody's is right.
  const good = misfits === undefined ? [] : inGroup.filter((osd) => !misfits.includes(osd))
  if (good.length === members.length) return undefined
  const right = best?.copies[0]
  const shards = copies.map((each) => {
    if (good.includes(each.osd)) return shardOf(each, [])
    return shardOf(each, inGroup.includes(each.osd) ? ['data_digest_mismatch'] : errorsOf(each.copy, right, check))
  })
  const mends = good.length >= (check?.needed ?? 1)
  const bad = mends ? members.map(({ osd }) => osd).filter((osd) => !good.includes(osd)) : []
  const proven =
    mends &&
    groups.length === 1 &&
    copies.every(({ osd, copy }) => {
      if (good.includes(osd)) return true
      if (copy === undefined) return expected.kind === 'version' || good.length * 2 > members.length
      return copy.damage !== 0 || (expected.kind === 'version' && !inGroup.includes(osd))
    })
  const deep = shards.every(({ errors }) => errors.every(isDeep))
  return { object, version: right?.version ?? zeroVersion, remove: false, shards, good, bad, proven, deep }
}

type MemberCopy = ScrubbedObject & { readonly osd: OsdId }

interface Group {
  readonly copies: MemberCopy[]
}

/** Equal copies together, the largest group first, then the newest version, then the one that comes first. */
function groupsOf(
  copies: readonly { readonly osd: OsdId; readonly copy: ScrubbedObject }[],
  withData: boolean,
): readonly Group[] {
  const groups: Group[] = []
  for (const { osd, copy } of copies) {
    const same = groups.find((group) => differences(copy, group.copies[0] as MemberCopy, withData).length === 0)
    if (same === undefined) groups.push({ copies: [{ ...copy, osd }] })
    else same.copies.push({ ...copy, osd })
  }
  const versionOf = (group: Group): Version => (group.copies[0] as MemberCopy).version
  return groups.sort((a, b) => b.copies.length - a.copies.length || compareVersions(versionOf(b), versionOf(a)))
}

function differences(copy: ScrubbedObject, right: ScrubbedObject, withData: boolean): readonly ScrubError[] {
  const errors: ScrubError[] = []
  if (!equalVersions(copy.version, right.version)) errors.push('object_info_inconsistency')
  if (copy.sizeBytes !== right.sizeBytes) errors.push('size_mismatch')
  if (copy.attributesDigest !== right.attributesDigest) errors.push('attr_value_mismatch')
  if (copy.omapDigest !== right.omapDigest) errors.push('omap_digest_mismatch')
  if (withData && copy.dataDigest !== right.dataDigest) errors.push('data_digest_mismatch')
  return errors
}

/** Why a copy is not among the right ones. */
function errorsOf(
  copy: ScrubbedObject | undefined,
  right: ScrubbedObject | undefined,
  check: ShardCheck | undefined,
): readonly ScrubError[] {
  if (copy === undefined) return ['missing']
  const errors: ScrubError[] = []
  if ((copy.damage & scrubDamage.attributes) !== 0) errors.push('info_corrupted')
  if ((copy.damage & (scrubDamage.data | scrubDamage.blockMap)) !== 0) errors.push('read_error')
  if ((copy.damage & scrubDamage.omap) !== 0) errors.push('omap_read_error')
  if (errors.length > 0) return errors
  return right === undefined ? ['object_info_inconsistency'] : differences(copy, right, check === undefined)
}

function isDeep(error: ScrubError): boolean {
  return ['read_error', 'omap_read_error', 'omap_digest_mismatch', 'data_digest_mismatch'].includes(error)
}

function shardOf(
  { osd, copy }: { readonly osd: OsdId; readonly copy: ScrubbedObject | undefined },
  errors: readonly ScrubError[],
): InconsistentShard {
  return {
    osd,
    errors,
    sizeBytes: copy?.sizeBytes ?? 0,
    version: copy?.version ?? zeroVersion,
    attributesDigest: copy?.attributesDigest ?? 0,
    omapDigest: copy?.omapDigest ?? 0,
    dataDigest: copy?.dataDigest ?? 0,
  }
}
