/** Around snapshots and clones of images. */
import type { PlantedBug } from './planted-bug.ts'

export const cloneBugs: readonly PlantedBug[] = [
  {
    name: 'copy-up-overwrites',
    mechanism: "the parent's bytes are brought also to an object that has come to be meanwhile",
    promise: 'flattening a clone undoes none of the writes that go on meanwhile',
    file: 'block/dist/copy-up.js',
    find: "{ kind: 'create', exclusive: true }",
    replace: "{ kind: 'create', exclusive: false }",
    scenario: 'images',
  },
  {
    name: 'discard-shows-parent',
    mechanism: 'a discard of a whole object of a clone removes it',
    promise: 'what was discarded reads as zeros',
    file: 'block/dist/image.js',
    find: 'if (part.index * this.known.objectBytes >= covered) {',
    replace: 'if (covered >= 0) {',
    scenario: 'images',
  },
  {
    name: 'snapshot-taken-unheard',
    mechanism: 'an open image goes on writing for the snapshots that it knew when it was opened',
    promise: 'nothing that is written after a snapshot changes what it shows',
    file: 'block/dist/image.js',
    find: '        this.writeOptions = writeOptionsOf(header);',
    replace: '        this.writeOptions ??= writeOptionsOf(header);',
    scenario: 'images',
  },
  {
    name: 'needed-snapshot-goes',
    mechanism: 'a removed snapshot goes at once, whoever is a clone of it',
    promise: 'a snapshot that was removed stays until its last clone is flattened or removed',
    file: 'block/dist/snapshot-removal.js',
    find: 'if (children.length === 0)',
    replace: 'if (children.length >= 0)',
    scenario: 'images',
  },
]
