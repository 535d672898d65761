import type { Workload } from '../history.ts'
import { attributes, compounds } from './attributes.ts'
import { blockDevice } from './block-device.ts'
import { counters } from './counters.ts'
import { extents } from './extents.ts'
import { fullDisks, quotas } from './filling.ts'
import { imageFamily } from './image-family.ts'
import { listing } from './listing.ts'
import { locks } from './locks.ts'
import { mirroredImages } from './mirrored-images.ts'
import { monitorSet } from './monitor-set.ts'
import { poolChurn } from './pool-churn.ts'
import { hotAndCold, registers } from './registers.ts'
import { sharedImage } from './shared-image.ts'
import { snapshots } from './snapshots.ts'
import { watches } from './watches.ts'

export { attributes, compounds } from './attributes.ts'
export { blockDevice } from './block-device.ts'
export { counters } from './counters.ts'
export { extents } from './extents.ts'
export { fullDisks, overQuota, quotas } from './filling.ts'
export { listing } from './listing.ts'
export { locks } from './locks.ts'
export { type ObjectWorkloadPlan, objectWorkload } from './object-workload.ts'
export { poolChurn } from './pool-churn.ts'
export { hotAndCold, registers } from './registers.ts'
export { sharedImage } from './shared-image.ts'
export { snapshots } from './snapshots.ts'
export { watches } from './watches.ts'

/** All kinds, by name; each call makes one with a state of its own, for one simulated cluster. */
export const workloads: Readonly<Record<string, () => Workload>> = {
  registers: () => registers(),
  'hot-cold': () => hotAndCold(),
  extents: () => extents(),
  attributes: () => attributes(),
  compounds: () => compounds(),
  counters: () => counters(),
  listing: () => listing(),
  locks: () => locks(),
  'block-device': () => blockDevice(),
  'image-family': () => imageFamily(),
  'shared-image': () => sharedImage(),
  'mirrored-images': () => mirroredImages(),
  'pool-churn': () => poolChurn(),
  quotas: () => quotas(),
  'full-disks': () => fullDisks(),
  'monitor-set': () => monitorSet(),
  watches: () => watches(),
  snapshots: () => snapshots('selfmanaged'),
  'pool-snapshots': () => snapshots('pool'),
}
