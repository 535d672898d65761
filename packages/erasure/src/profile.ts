/**
 * Erasure code profiles in Ceph's words: `k=4 m=2 crush-failure-domain=host stripe_unit=4K`. A profile is fixed once a pool
 * uses it, so it is checked in full here: what would be ignored is refused.
 */
import { ClusterError } from '@shoal/base'
import { checkChunkCounts } from './code.ts'
import type { StripeLayout } from './stripe.ts'

export interface ErasureCodeProfile {
  readonly k: number
  readonly m: number
  readonly plugin: 'jerasure'
  readonly technique: 'reed_sol_van'
  readonly stripeUnitBytes: number
  readonly crushFailureDomain: string
  readonly crushRoot: string
  /** Devices of this class only; undefined: of any. */
  readonly crushDeviceClass: string | undefined
}

/** The object store's unit: a smaller one would make every write of a chunk a partial one. */
const stripeUnitBytesMin = 4096
const stripeUnitBytesMax = 4 * 1024 * 1024
const example = 'for example: k=4 m=2 crush-failure-domain=host stripe_unit=4K'

/** What Ceph prints for every profile, and the only value of it that there is here. */
const fixed: Readonly<Record<string, string>> = {
  plugin: 'jerasure',
  technique: 'reed_sol_van',
  w: '8',
  'jerasure-per-chunk-alignment': 'false',
}
const settable = ['k', 'm', 'stripe_unit', 'crush-failure-domain', 'crush-root', 'crush-device-class'] as const

function refuse(message: string, hint: string): never {
  throw new ClusterError('EINVAL', message, { hint })
}

/** Of words such as `k=4`; throws EINVAL with a hint for what is missing, unknown, given twice or out of range. */
export function parseErasureCodeProfile(words: readonly string[]): ErasureCodeProfile {
  const values = entriesOf(words)
  for (const [key, only] of Object.entries(fixed)) {
    const value = values.get(key)
    if (value !== undefined && value !== only)
      refuse(`${key}=${value} is not supported`, `${key}=${only} is, or leave it out`)
  }
  const k = chunkCount(values, 'k')
  const m = chunkCount(values, 'm')
  if (k === 1) refuse('k=1 is a copy, not a code', 'create a replicated pool instead, or give k=2 or more')
  checkChunkCounts(k, m)
  const deviceClass = crushName(values, 'crush-device-class', '')
  return {
    k,
    m,
    plugin: 'jerasure',
    technique: 'reed_sol_van',
    stripeUnitBytes: stripeUnit(values.get('stripe_unit')),
    crushFailureDomain: crushName(values, 'crush-failure-domain', 'host'),
    crushRoot: crushName(values, 'crush-root', 'default'),
    crushDeviceClass: deviceClass === '' ? undefined : deviceClass,
  }
}

/** All words of a profile, by key, as `ceph osd erasure-code-profile get` prints them; parsing them gives it back. */
export function formatErasureCodeProfile(profile: ErasureCodeProfile): readonly string[] {
  const values = {
    ...fixed,
    k: profile.k,
    m: profile.m,
    stripe_unit: profile.stripeUnitBytes,
    'crush-failure-domain': profile.crushFailureDomain,
    'crush-root': profile.crushRoot,
    'crush-device-class': profile.crushDeviceClass ?? '',
  }
  return Object.entries(values)
    .map(([key, value]) => `${key}=${value}`)
    .toSorted()
}

export function stripeLayoutOf({ k, stripeUnitBytes }: ErasureCodeProfile): StripeLayout {
  return { k, chunkBytes: stripeUnitBytes }
}

function entriesOf(words: readonly string[]): ReadonlyMap<string, string> {
  const known = new Set<string>([...settable, ...Object.keys(fixed)])
  const values = new Map<string, string>()
  for (const word of words) {
    const at = word.indexOf('=')
    const key = at < 0 ? word : word.slice(0, at)
    if (at < 0) refuse(`'${word}' is not KEY=VALUE`, example)
    if (!known.has(key)) refuse(`no profile has '${key}'`, `there are ${[...known].join(', ')}`)
    if (values.has(key)) refuse(`'${key}' is given twice`, `give ${key}=VALUE once`)
    values.set(key, word.slice(at + 1))
  }
  return values
}

function chunkCount(values: ReadonlyMap<string, string>, key: 'k' | 'm'): number {
  const value = values.get(key)
  if (value === undefined) refuse(`${key} is missing`, example)
  if (!/^\d{1,9}$/.test(value)) refuse(`${key}=${value} is not a positive whole number`, example)
  return Number(value)
}

/** CRUSH has the names; whether they exist is known where the map is. */
function crushName(values: ReadonlyMap<string, string>, key: (typeof settable)[number], byDefault: string): string {
  const value = values.get(key) ?? byDefault
  if (value === byDefault || /^[A-Za-z0-9_.-]+$/.test(value)) return value
  return refuse(`${key}=${value} is not a name in CRUSH`, 'names are of letters, digits, _ . and -: shoal osd tree')
}

function stripeUnit(value = '4K'): number {
  const [, digits, unit] = /^(\d{1,9})(?:B|([KM])i?)?$/.exec(value) ?? []
  if (digits === undefined) refuse(`stripe_unit=${value} is not a size`, 'give bytes, or K or M: stripe_unit=4K')
  const sizeBytes = Number(digits) * (unit === 'M' ? 1024 * 1024 : unit === 'K' ? 1024 : 1)
  if (sizeBytes % stripeUnitBytesMin !== 0 || sizeBytes < stripeUnitBytesMin || sizeBytes > stripeUnitBytesMax) {
    refuse(
      `stripe_unit=${value} is not a multiple of 4K from 4K to 4M`,
      '4K suits small random writes, 64K and more suit large sequential ones',
    )
  }
  return sizeBytes
}
