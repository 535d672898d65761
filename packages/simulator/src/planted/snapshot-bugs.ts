/** Around snapshots: clones on write, their recovery, trimming. */
import type { PlantedBug } from './planted-bug.ts'

const planSnapshots = 'placement-group/dist/plan-snapshots.js'

export const snapshotBugs: readonly PlantedBug[] = [
  {
    name: 'clone-skipped',
    mechanism: 'the first write after a snapshot does not clone the object',
    promise: 'what an object was at a snapshot stays as it was',
    file: planSnapshots,
    find: '    if (snaps.length > 0) {',
    replace: '    if (snaps.length > 1e9) {',
    scenario: 'snapshots',
  },
  {
    name: 'needed-clone-trimmed',
    mechanism: 'a clone goes with the first of the snapshots that it serves',
    promise: 'a clone stays while a snapshot needs it',
    file: planSnapshots,
    find: 'const left = known.snaps.filter((snap) => !gone.includes(snap));',
    replace: 'const left = known.snaps.slice(0, 0);',
    scenario: 'snapshots',
  },
  {
    name: 'clone-not-recovered',
    mechanism: 'a copy that catches up by log gets objects, but not their clones',
    promise: 'recovery brings clones as well as heads to every copy',
    file: 'placement-group/dist/merge-log.js',
    find: "        if (entry.kind === 'error')\n            continue;\n        // What this copy",
    replace:
      "        if (entry.kind === 'error' || entry.object.snap < 0xffff_ffff_fffe)\n            continue;\n        // What this copy",
    scenario: 'snapshots',
  },
  {
    name: 'purged-unlooked',
    mechanism: 'a removed snapshot counts as purged before its clones were looked for',
    promise: 'removed snapshots leave no clone behind',
    file: 'placement-group/dist/snap-trimmer.js',
    find: '        if (!pass.listed)\n',
    replace: '        if (pass.snap < 0)\n',
    scenario: 'snapshots',
  },
  {
    name: 'recovered-clone-unlisted',
    mechanism: 'a clone that was recovered is not listed under its snapshots',
    promise: 'whoever is the primary finds every clone of a removed snapshot',
    file: 'placement-group/dist/object-transfer.js',
    find: 'if (fetch.pieces === 0 && isClone(fetch.object))',
    replace: 'if (fetch.pieces < 0 && isClone(fetch.object))',
    scenario: 'snapshots',
  },
  {
    name: 'clone-not-backfilled',
    mechanism: 'backfill compares objects, but not their clones',
    promise: 'backfill brings clones as well as heads to the copy being filled',
    file: 'placement-group/dist/backfill.js',
    find: '        for (const one of ours) {\n',
    replace:
      '        for (const one of ours) {\n            if (one.object.snap < 0xffff_ffff_fffe)\n                continue;\n',
    scenario: 'snapshot-backfills',
  },
]
