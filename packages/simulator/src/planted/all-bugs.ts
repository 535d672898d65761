import { clientBugs } from './client-bugs.ts'
import { cloneBugs } from './clone-bugs.ts'
import { configBugs } from './config-bugs.ts'
import { imageBugs } from './image-bugs.ts'
import { mergeBugs } from './merge-bugs.ts'
import { mirrorBugs } from './mirror-bugs.ts'
import { monitorBugs } from './monitor-bugs.ts'
import { pgBugs } from './pg-bugs.ts'
import type { PlantedBug } from './planted-bug.ts'
import { recoveryBugs } from './recovery-bugs.ts'
import { scrubBugs } from './scrub-bugs.ts'
import { shardBugs } from './shard-bugs.ts'
import { shardSnapshotBugs } from './shard-snapshot-bugs.ts'
import { snapshotBugs } from './snapshot-bugs.ts'
import { spaceBugs } from './space-bugs.ts'
import { splitBugs } from './split-bugs.ts'
import { storeBugs } from './store-bugs.ts'

export const plantedBugs: readonly PlantedBug[] = [
  ...storeBugs,
  ...pgBugs,
  ...recoveryBugs,
  ...snapshotBugs,
  ...scrubBugs,
  ...shardBugs,
  ...shardSnapshotBugs,
  ...monitorBugs,
  ...spaceBugs,
  ...clientBugs,
  ...cloneBugs,
  ...imageBugs,
  ...mirrorBugs,
  ...splitBugs,
  ...mergeBugs,
  ...configBugs,
]
