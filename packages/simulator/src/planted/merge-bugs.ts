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
    name: 'merge-target-goes-on',
    mechanism: 'the interval of a placement group that another goes into does not end',
    promise: 'operations are answered',
    file: 'cluster-map/dist/interval.js',
    find: 'return seed >= fewer || splitSeeds(seed, fewer, Math.max(oldNum, newNum)).length > 0;',
    replace: 'return seed >= fewer;',
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
    name: 'merge-ends-in-two-steps',
    mechanism: 'the collection of the source ends in a transaction of its own, before the target has its new record',
    promise: 'a merge that a crash cuts off begins again',
    file: 'osd/dist/pg-merger.js',
    find: 'await store.submit({ ops });\n        stored = merged.stored;',
    replace: `const end = ops.pop();
        await store.submit({ ops: [end] });
        await store.submit({ ops });
        stored = merged.stored;`,
    scenario: 'merges-and-crashes',
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
