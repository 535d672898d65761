/** In the mirroring of images. */
import type { PlantedBug } from './planted-bug.ts'

const promise = 'readers of a copy, and who promotes it, find a snapshot of the primary, whole'

export const mirrorBugs: readonly PlantedBug[] = [
  {
    name: 'mirror-keeps-what-broke-off',
    mechanism: 'a copy to a snapshot that is gone is not undone before the next one',
    promise,
    file: 'block/dist/mirror/mirror-steps.js',
    find: '    if (isOther && !hasSnapshot(target, begun.to)) {',
    replace: '    if (false) {',
    scenario: 'mirroring',
  },
  {
    name: 'promotion-keeps-what-broke-off',
    mechanism: 'a copy that is promoted keeps what a copier wrote who died',
    promise,
    file: 'block/dist/mirror/mirror-admin.js',
    find: '            await rewind(pool.store, name, begun.from);',
    replace: '            await Promise.resolve();',
    scenario: 'mirroring',
  },
  {
    name: 'mirror-publishes-too-soon',
    mechanism: 'the snapshot of a copy is taken before the bytes are there',
    promise,
    file: 'block/dist/transfer/import-diff.js',
    find: '    await applyExtents(await openImage(), extents, onProgress);',
    replace: '    void applyExtents(await openImage(), extents, onProgress).catch(() => undefined);',
    scenario: 'mirroring',
  },
  {
    name: 'mirror-snapshot-before-demotion',
    mechanism: 'the last snapshot of a primary is not taken when it is demoted',
    promise: 'a primary that was demoted has nothing that its last snapshot lacks',
    file: 'block/dist/mirror/mirror-admin.js',
    find: "    const { id } = await pool.store.snapshots.create(name, pool.newSnapshotName(), 'mirror');",
    replace: "    const { id } = header.snapshots?.entries.findLast(({ kind }) => kind === 'mirror') ?? { id: 0 };",
    scenario: 'mirroring',
  },
]
