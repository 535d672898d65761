/** In erasure-coded placement groups: what makes writes of shards atomic, and rebuilt shards true. */
import type { PlantedBug } from './planted-bug.ts'

export const shardBugs: readonly PlantedBug[] = [
  {
    name: 'shards-not-rolled-back',
    mechanism: 'a shard whose newest write lost keeps what that write put there',
    promise: 'all shards of an object are of one version',
    file: 'placement-group/dist/erasure/rollback-log.js',
    find: 'steps.push(restores.has(objectKey(object))',
    replace: 'steps.push(false',
    scenario: 'shards',
  },
  {
    name: 'shard-acks-at-k',
    mechanism: 'a write is answered when k shards have it',
    promise: 'an acknowledged write is on every member of acting, so that the shortest log has it',
    file: 'placement-group/dist/write-replicator.js',
    find: '        if (write.missing.size > 0)\n            return;',
    replace: '        if (write.missing.size > 2)\n            return;',
    scenario: 'shards',
  },
  {
    name: 'stashes-dropped-early',
    mechanism: 'what it takes to undo a write goes while the write is still under way',
    promise: 'a write that reached fewer than k shards is undone where it is',
    file: 'placement-group/dist/erasure/shard-replicator.js',
    find: 'return oldest ?? {',
    replace: 'return {',
    scenario: 'shards',
  },
  {
    name: 'longest-log-of-shards-wins',
    mechanism: 'peering takes the newest log, as among copies',
    promise: 'what peering settles on is on at least k shards',
    file: 'placement-group/dist/erasure/shard-rules.js',
    find: 'return newer < 0;',
    replace: 'return newer > 0;',
    scenario: 'shards',
  },
  {
    name: 'shards-tell-what-is-not-stored',
    mechanism: 'in peering a member tells of writes that it has yet to store',
    promise: 'what peering settles on is on at least k shards, whoever loses power',
    file: 'placement-group/dist/core.js',
    find: 'if (this.shard === undefined || this.committed === this.submitted)',
    replace: 'if (this.submitted >= 0)',
    scenario: 'shard-power',
  },
  {
    name: 'stale-shard-decoded',
    mechanism: 'a lost shard is computed from shards of any version',
    promise: 'bytes of different versions never meet',
    file: 'placement-group/dist/object-transfer.js',
    find: '            if (same)\n',
    replace: '            if (same || piece !== undefined)\n',
    scenario: 'shard-moves',
  },
]
