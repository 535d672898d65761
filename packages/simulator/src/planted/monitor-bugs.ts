/** In consensus, the monitors and the spread of maps. */
import type { PlantedBug } from './planted-bug.ts'

const driver = 'monitor/dist/consensus/consensus-driver.js'

export const monitorBugs: readonly PlantedBug[] = [
  {
    name: 'vote-not-persisted',
    mechanism: 'a monitor forgets for whom it voted when it restarts',
    promise: 'a term has at most one leader',
    file: 'monitor/dist/consensus/raft-store.js',
    find: 'value: encode(hardStateCodec, ready.hardState)',
    replace: 'value: encode(hardStateCodec, { ...ready.hardState, votedFor: 0 })',
    scenario: 'rivals',
  },
  {
    name: 'append-acknowledged-before-durable',
    mechanism: 'raft messages go out before what they promise is stored',
    promise: 'a committed entry is on stable storage of a majority',
    file: driver,
    find: '            await this.store.save(ready);',
    replace: '            void this.store.save(ready);',
    scenario: 'monitor-power',
  },
  {
    name: 'stale-read-index',
    mechanism: 'a leader answers reads without asking whether it still leads',
    promise: 'answers of the monitors are linearizable',
    file: 'raft/dist/read-queue.js',
    find: 'voters.filter((id) => read.acks.has(id)).length < majority(voters.length)',
    replace: 'majority(voters.length) < 1',
    scenario: 'lonely-monitors',
  },
  {
    name: 'committed-without-majority',
    mechanism: 'a leader commits what it alone has',
    promise: 'a committed entry is on a majority, and never replaced',
    file: 'raft/dist/membership.js',
    find: '[majority(matches.length) - 1]',
    replace: '[0]',
    scenario: 'lonely-monitors',
  },
  {
    name: 'append-without-match',
    mechanism: 'a follower appends without comparing the entry before',
    promise: 'logs that share an entry are equal up to it',
    file: 'raft/dist/raft-node.js',
    find: 'if (this.log.termAt(previousIndex) !== previousTerm) {',
    replace: 'if (this.log.termAt(previousIndex) === undefined) {',
    scenario: 'lonely-monitors',
  },
  {
    name: 'monitor-acks-before-commit',
    mechanism: 'a change of the map is acknowledged when it is proposed',
    promise: 'an acknowledged change is committed',
    file: driver,
    find: '            this.proposals.set(index, { term: node.term, resolve, reject, timer });',
    replace:
      "            this.proposals.set(index, { term: node.term, resolve, reject, timer });\n            resolve('applied');",
    scenario: 'lonely-monitors',
  },
  {
    name: 'incremental-on-wrong-base',
    mechanism: 'of several incrementals that come at once, each is applied to the map from before them',
    promise: 'an epoch means the same map to everybody',
    file: 'monitor-client/dist/map-follower.js',
    find: 'this.adopt(applyOsdMapIncremental(this.osdMap, incremental));',
    replace: `this.bases ??= new WeakMap();
            if (!this.bases.has(update)) this.bases.set(update, this.osdMap);
            this.adopt(applyOsdMapIncremental({ ...this.bases.get(update), epoch: this.osdMap.epoch }, incremental));`,
    scenario: 'failover',
  },
  {
    name: 'balancer-ignores-failure-domains',
    mechanism: 'the balancer, and the check of what it made, allow two copies in one failure domain',
    promise: 'a placement group survives the loss of a host',
    file: 'cluster-map/dist/rule-shape.js',
    find: 'if (number > most)',
    replace: 'if (number > most + 1)',
    scenario: 'uneven',
  },
  {
    name: 'primary-from-outside-its-set',
    mechanism: 'an OSD that is to be primary by exception is, though it is no member of the set any more',
    promise: 'exceptions choose the primary among the members, and go when they are void',
    file: 'cluster-map/dist/placement.js',
    find: "        if (pool.type !== 'replicated' || at <= 0)\n            return swapped;",
    replace: `        if (osd !== undefined && at < 0)
            swapped.unshift(osd);
        if (pool.type !== 'replicated' || at <= 0)
            return swapped;`,
    scenario: 'primaries',
  },
  {
    name: 'no-affinity-taken-for-all',
    mechanism: 'primary affinity 0 is read as if it had never been set: the balancer makes such OSDs primary, too',
    promise: 'an OSD without primary affinity is primary only where nobody else is',
    file: 'cluster-map/dist/placement.js',
    find: 'return share >= weightOne ||',
    replace: 'return share === 0 || share >= weightOne ||',
    scenario: 'primaries',
  },
  {
    name: 'primary-kept-after-leaving',
    mechanism: 'the monitors keep exceptions of primaries whose OSD is out or has given its copy to another',
    promise: 'exceptions that are void are dropped',
    file: 'cluster-map/dist/upmap-check.js',
    find: '!makesPrimary(placement, id, osd)',
    replace: 'poolOf(map, id) === undefined',
    scenario: 'primaries',
  },
]
