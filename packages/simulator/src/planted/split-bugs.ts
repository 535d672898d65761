/** In the splitting of placement groups. */
import type { PlantedBug } from './planted-bug.ts'

export const splitBugs: readonly PlantedBug[] = [
  {
    name: 'split-forgets-requests',
    mechanism: 'a part of a placement group begins with an empty log',
    promise: 'a request is carried out once, however often it is sent',
    file: 'placement-group/dist/pg-split.js',
    find: 'const log = new PgLog(tail, entries, trimmedRequests, head);',
    replace: 'const log = new PgLog(head, [], [], head);',
    scenario: 'splits',
  },
  {
    name: 'split-leaves-objects',
    mechanism: 'some objects stay in the collection of the placement group that they were in before the split',
    promise: 'acknowledged writes are kept',
    file: 'osd/dist/pg-splitter.js',
    find: '(object) => index.get(seedOf(object.hash)) ?? -1',
    replace: '(object) => object.hash % 5 === 0 ? -1 : (index.get(seedOf(object.hash)) ?? -1)',
    scenario: 'splits',
  },
  {
    name: 'split-not-finished-after-crash',
    mechanism: 'a split that a crash cut off is not undone: its objects stay where no placement group looks for them',
    promise: 'acknowledged writes are kept',
    file: 'osd/dist/pg-splitter.js',
    find: 'await store.moveObjects(collection, [whole], () => 0, countObject);',
    replace: 'await store.moveObjects(collection, [whole], () => -1, countObject);',
    scenario: 'splits-and-crashes',
  },
  {
    name: 'split-leaves-count-of-blobs',
    mechanism: 'the whole goes on counting blobs that a part has: the part counts below zero',
    promise: 'nothing ends a daemon but the failure of its disk',
    file: 'object-store/dist/object-mover.js',
    find: 'if (space.units === 0)',
    replace: 'if (space.units >= 0)',
    scenario: 'splits-of-clones',
  },
  {
    name: 'split-leaves-records-of-clones',
    mechanism: 'a part does not get the records that list its clones by snapshot',
    promise: 'snapshots that are removed are trimmed',
    file: 'osd/dist/pg-splitter.js',
    find: 'return keys === undefined ? [] : [copySnapRecords(id, keys)];',
    replace: 'return [];',
    scenario: 'splits-of-clones',
  },
]
