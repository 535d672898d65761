/** In the merging of placement groups. */
import type { PlantedBug } from './planted-bug.ts'

export const mergeBugs: readonly PlantedBug[] = [
  {
    name: 'merge-believes-every-copy',
    mechanism: 'copies that missed writes before the merge begin where the others do, as if they had all',
    promise: 'acknowledged writes are kept',
    file: 'placement-group/dist/pg-merge.js',
    find: `    return upTo(target, targetVersion) && upTo(source, sourceVersion);
}
function exactCopy(target, source, collection, epoch) {
    const head = mergedVersion(epoch, source.log.head, target.log.head);`,
    replace: `    return true;
}
function exactCopy(target, source, collection, epoch) {
    const head = { epoch, version: 1_000_000 };`,
    scenario: 'merges-while-away',
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
    name: 'merge-forgets-requests',
    mechanism: 'the target does not know which requests were done in the source',
    promise: 'what a client sends again is done once',
    file: 'placement-group/dist/pg-merge.js',
    find: 'mergeRequests(target.log.openRequests(), source.log.openRequests())',
    replace: 'target.log.openRequests().requests',
    scenario: 'merges-and-resends',
  },
  {
    name: 'merge-leaves-records-of-clones',
    mechanism: 'the target does not get the records that list the clones of the source by snapshot',
    promise: 'snapshots that are removed are trimmed',
    file: 'osd/dist/pg-merger.js',
    find: 'await store.submit({ ops: [copySnapRecords(targetId, keys)] });',
    replace: 'void keys;',
    scenario: 'merges-of-clones',
  },
]
