/** Around snapshots of erasure-coded pools: clones of shards are made, undone, rebuilt and trimmed on every shard. */
import type { PlantedBug } from './planted-bug.ts'

const shardFamily = 'placement-group/dist/erasure/shard-family.js'

export const shardSnapshotBugs: readonly PlantedBug[] = [
  {
    name: 'undone-write-leaves-its-clone',
    mechanism: 'a shard that undoes a write keeps the clone that the write made',
    promise: 'a write that is undone leaves nothing, on any shard',
    file: 'placement-group/dist/merge-log.js',
    find: '        else if (prior.version === 0) {',
    replace:
      '        else if (prior.version === 0 && canUndo !== undefined && object.snap < 0xffff_ffff_fffe) { }\n' +
      '        else if (prior.version === 0) {',
    scenario: 'shard-snapshots',
  },
  {
    name: 'clone-not-trimmed-on-a-shard',
    mechanism: 'the clone of a removed snapshot goes on all shards but the third',
    promise: 'trimming a clone removes it from every shard',
    file: shardFamily,
    find: '        const moved = left.map(',
    replace:
      "        if (collection === collections[2] && object.snap < 0xffff_ffff_fffe && steps.some(({ kind }) => kind === 'remove'))\n" +
      '            return [];\n' +
      '        const moved = left.map(',
    scenario: 'shard-snapshots',
  },
  {
    name: 'undone-trim-unlisted',
    mechanism: 'a trim takes its clone from the list of its snapshot at once',
    promise: 'a clone that is there again because its trim was undone is found by the next one',
    file: shardFamily,
    find: "        if (step.kind !== 'meta-set')",
    replace: "        if (step.kind !== 'meta-set' && step.kind !== 'meta-remove')",
    scenario: 'shard-trims',
  },
  {
    name: 'clone-not-rebuilt',
    mechanism: 'a member says that it made its shard of a clone, and has not',
    promise: 'recovery brings the shards of clones to every member',
    file: 'placement-group/dist/erasure/shard-transfer.js',
    find: '        const key = objectKey(object);\n        const rebuild =',
    replace:
      '        if (object.snap < 0xffff_ffff_fffe) {\n' +
      '            this.core.missing.delete(object);\n' +
      '            return void onFetched(0, 0, []);\n' +
      '        }\n' +
      '        const key = objectKey(object);\n        const rebuild =',
    scenario: 'shard-snapshot-moves',
  },
  {
    name: 'clone-read-from-the-head',
    mechanism: 'a read at a snapshot of an erasure-coded object has the bytes of the head put together',
    promise: 'what an object was at a snapshot stays as it was',
    file: 'placement-group/dist/erasure/shard-read-executor.js',
    find: "target.kind === 'head' ?",
    replace: "target.kind !== 'absent' ?",
    scenario: 'shard-snapshots',
  },
]
