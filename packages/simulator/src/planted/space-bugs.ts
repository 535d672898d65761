/** In what keeps disks and pools from being filled further than they may be. */
import type { PlantedBug } from './planted-bug.ts'

const ledger = 'monitor/dist/services/quota-ledger.js'
const share = 'placement-group/dist/quota-share.js'

export const spaceBugs: readonly PlantedBug[] = [
  {
    name: 'quota-granted-twice',
    mechanism: 'the leader counts what placement groups use, not what they were granted',
    promise: 'a pool never holds more than its quota',
    file: ledger,
    find: 'maxBytes - ledger.held.bytes;',
    replace: 'maxBytes - usedOf(ledger).bytes;',
    scenario: 'quotas',
  },
  {
    name: 'quota-granted-unheard',
    mechanism: 'a new leader grants before it has heard of every placement group',
    promise: 'a pool never holds more than its quota, whoever leads',
    file: ledger,
    find: 'if (told < pool.pgNum)',
    replace: 'if (false)',
    scenario: 'quotas',
  },
  {
    name: 'quota-kept-over-intervals',
    mechanism: 'a primary goes on with the share of an earlier interval',
    promise: 'a pool never holds more than its quota, whoever is primary',
    file: share,
    find: '        this.active = false;\n        this.pool = undefined;\n        this.forget();',
    replace: '        this.active = false;',
    scenario: 'quotas',
  },
  {
    name: 'full-disk-not-asked',
    mechanism: 'a write is ordered without asking whether its members have room',
    promise: 'a full disk refuses writes and never ends a daemon',
    file: 'placement-group/dist/client-io.js',
    find: 'if (needsSpace(head.op.ops) && !this.hasSpaceFor(head.op)) {',
    replace: 'if (false) {',
    scenario: 'full-disks',
  },
]
