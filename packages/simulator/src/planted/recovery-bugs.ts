/** In the placement group: logs that differ, recovery, backfill. */
import type { PlantedBug } from './planted-bug.ts'

const backfill = 'placement-group/dist/backfill.js'

export const recoveryBugs: readonly PlantedBug[] = [
  {
    name: 'held-operations-overtaken',
    mechanism: 'while recovery waits for the disk, every other operation of a client goes past those that are held',
    promise: 'operations of one client keep their order',
    file: 'osd/dist/op-scheduler.js',
    find: `        if (this.queue.size > 0)
            return false;`,
    replace: '        if (this.queue.size > 0 && (this.turn = !this.turn))\n            return false;',
    scenario: 'slow-share',
  },
  {
    name: 'recovery-starved',
    mechanism: 'recovery has the disk for moments only, though it is due',
    promise: 'a class is due its reservation, whatever the others want',
    file: 'osd/dist/mclock-queue.js',
    find: 'if (state.waiting.length === 0 || (only !== undefined && name !== only))\n                continue;',
    replace:
      "if (state.waiting.length === 0 || (only !== undefined && name !== only) || (name === 'recovery' && nowMs % 20000 > 50))\n                continue;",
    scenario: 'slow-share',
  },
  {
    name: 'divergent-entry-kept',
    mechanism: 'what a divergent log entry did to an object is not undone',
    promise: 'all copies agree with the authoritative log',
    file: 'placement-group/dist/merge-log.js',
    find: '    for (const [object, prior] of rewind(divergent)) {',
    replace: '    for (const [object, prior] of rewind(divergent.slice(0, 0))) {',
    scenario: 'divergence',
  },
  {
    name: 'added-delete-forgotten',
    mechanism: 'a copy that catches up by log does not remove what was removed meanwhile',
    promise: 'all copies agree with the authoritative log',
    file: 'placement-group/dist/merge-log.js',
    find: `            missing.delete(entry.object);
            removed.set(objectKey(entry.object), entry.object);
        }
        else {`,
    replace: '            missing.delete(entry.object);\n        }\n        else {',
    scenario: 'outages',
  },
  {
    name: 'incomplete-copy-trusted',
    mechanism: 'a copy that is still being filled counts as complete',
    promise: 'only complete copies serve',
    file: 'placement-group/dist/choose-acting.js',
    find: "return info !== undefined && info.lastBackfill.kind === 'complete' && compareVersions",
    replace: 'return info !== undefined && compareVersions',
    scenario: 'backfills',
  },
  {
    name: 'backfill-cursor-too-far',
    mechanism: 'a step of backfill ends at the further of two listings',
    promise: 'backfill compares every object',
    file: backfill,
    find: '    const first = ends[0];',
    replace: '    const first = ends.at(-1);',
    scenario: 'backfills',
  },
  {
    name: 'backfilled-object-not-written-to',
    mechanism: 'writes to objects that were filled already do not reach the copy being filled',
    promise: 'a filled copy is equal to the others',
    file: backfill,
    find: 'return target !== undefined && isFilled(target.started, object);',
    replace: 'return target === undefined && isFilled(target, object);',
    scenario: 'backfills',
  },
  {
    name: 'recovery-keeps-old-copy',
    mechanism: 'a recovered object is written over the old one instead of in its place',
    promise: 'a recovered object is equal to its source',
    file: 'placement-group/dist/object-transfer.js',
    find: "            steps.push({ kind: 'remove', collection, object });\n",
    replace: '',
    scenario: 'outages',
  },
  {
    name: 'recovered-with-wrong-version',
    mechanism: 'a recovered object gets no attributes: it does not know its version',
    promise: 'a recovered object is in exactly one version',
    file: 'placement-group/dist/object-transfer.js',
    find: "            steps.push({ kind: 'set-xattrs', collection, object, xattrs: piece.xattrs });\n",
    replace: '',
    scenario: 'outages',
  },
  {
    name: 'missing-forgotten',
    mechanism: 'the objects that a copy misses are not stored',
    promise: 'a restart does not trust a copy that was never brought up to date',
    file: 'placement-group/dist/replica.js',
    find: '    if (core.missing.size > 0)\n        steps.push(setMissing(core.pgId, core.missing.values()));',
    replace: '',
    scenario: 'outages',
  },
  {
    name: 'destroyed-too-early',
    mechanism: 'an OSD counts as safe to destroy though placement groups are served from it',
    promise: 'nothing that is needed is on an OSD that may be destroyed',
    file: 'monitor/dist/commands/osd-safety.js',
    find: "else if (!pgsOn([id], view, 'up or acting').next().done)",
    replace: 'else if (true)\n            safe.push(id);\n        else if (false)',
    scenario: 'drains',
  },
]
