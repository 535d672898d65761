/** In the merging of placement groups. */
import type { PlantedBug } from './planted-bug.ts'

export const mergeBugs: readonly PlantedBug[] = [
  {
    name: 'merge-believes-every-copy',
    mechanism: 'a copy that missed writes before the merge counts as one that has all',
    promise: 'acknowledged writes are kept',
    file: 'placement-group/dist/pg-merge.js',
    find: 'return upTo(target, targetVersion) && upTo(source, sourceVersion);',
    replace: 'return true;',
    scenario: 'merges',
  },
  {
    name: 'merge-writes-go-on',
    mechanism: 'writes go on after both placement groups have said how far they are written',
    promise: 'no copy is given up that has what was acknowledged',
    file: 'placement-group/dist/client-io.js',
    find: 'if (this.core.isMerging)',
    replace: 'if (false)',
    scenario: 'merges',
  },
  {
    name: 'merge-not-undone-after-crash',
    mechanism: 'a merge that a crash cut off leaves objects in the other collection while both placement groups go on',
    promise: 'acknowledged writes are kept',
    file: 'osd/dist/pg-merger.js',
    find: '=== pgSeed(source) ? 0 : -1)',
    replace: '=== -1 ? 0 : -1)',
    scenario: 'merges-and-crashes',
  },
]
