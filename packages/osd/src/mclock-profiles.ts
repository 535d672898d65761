/**
 * What each kind of work is due, by profile: Ceph's names, and its figures where it has such a kind
 * (https://docs.ceph.com/en/latest/rados/configuration/mclock-config-ref/).
 */
import type { BackgroundWork } from '@shoal/placement-group'
import type { ClassShare } from './mclock-queue.ts'
import type { OsdSettings } from './settings.ts'

export type Work = 'client' | BackgroundWork

export type SchedulerSettings = Pick<
  OsdSettings,
  'osd_mclock_profile' | 'osd_mclock_max_sequential_bandwidth' | 'osd_mclock_cost_per_op'
>

/** Reservation and limit are parts of the bandwidth. */
type Fractions = readonly [reservation: number, weight: number, limit: number]

interface Profile {
  readonly shares: Readonly<Record<Work, Fractions>>
  /** What may be under way, while clients and others both want the disk, before the next is let in; in bytes of cost. */
  readonly windowBytes: number
  /** How long other work rests behind each piece while clients are there, in parts of the time that the piece took. */
  readonly rest: number
  /** Of one piece of an object that is recovered: what a client's operation may find before it on the disk. */
  readonly pieceBytes: number
}

const none = Number.POSITIVE_INFINITY
const mebibyte = 1024 * 1024

const balanced: Profile = {
  shares: {
    client: [0.5, 1, none],
    recovery: [0.5, 1, none],
    scrub: [0, 1, 0.9],
    snaptrim: [0, 1, 0.9],
  },
  windowBytes: 2 * mebibyte,
  rest: 0.5,
  pieceBytes: mebibyte,
}

const profiles: Readonly<Record<string, Profile>> = {
  high_client_ops: {
    shares: {
      client: [0.6, 2, none],
      recovery: [0.4, 1, none],
      scrub: [0, 1, 0.7],
      snaptrim: [0, 1, 0.7],
    },
    // One piece alone: while clients want the disk, the next is let in once no other is under way.
    windowBytes: 0,
    rest: 1.5,
    pieceBytes: mebibyte / 8,
  },
  balanced,
  high_recovery_ops: {
    shares: {
      client: [0.3, 1, none],
      recovery: [0.7, 2, none],
      scrub: [0, 1, none],
      snaptrim: [0, 1, none],
    },
    windowBytes: 4 * mebibyte,
    rest: 0,
    pieceBytes: 2 * mebibyte,
  },
}

export interface Shares {
  readonly of: Readonly<Record<Work, ClassShare>>
  readonly windowBytes: number
  readonly rest: number
}

function profileOf({ osd_mclock_profile: name }: Pick<OsdSettings, 'osd_mclock_profile'>): Profile {
  return profiles[name] ?? balanced
}

export function pieceBytesOf(settings: Pick<OsdSettings, 'osd_mclock_profile'>): number {
  return profileOf(settings).pieceBytes
}

export function sharesOf(settings: SchedulerSettings): Shares {
  const { shares, windowBytes, rest } = profileOf(settings)
  const perMs = settings.osd_mclock_max_sequential_bandwidth / 1_000
  const share = ([reservation, weight, limit]: Fractions): ClassShare => ({
    reservation: reservation * perMs,
    weight,
    limit: limit * perMs,
  })
  const { client, recovery, scrub, snaptrim } = shares
  return {
    of: { client: share(client), recovery: share(recovery), scrub: share(scrub), snaptrim: share(snaptrim) },
    windowBytes,
    rest,
  }
}
