/** In the locks and pauses of block images. */
import type { PlantedBug } from './planted-bug.ts'

const lock = 'block/dist/image-lock.js'
const session = 'block/dist/image-session.js'
const scenario = 'image-lock'

export const imageBugs: readonly PlantedBug[] = [
  {
    name: 'image-lock-broken-without-fence',
    mechanism: 'the lock of an owner that does not answer is broken, and the owner is not fenced',
    promise: 'what an owner sent does not land after the next one has written',
    file: lock,
    find: 'const epoch = await fencer.fence(client, fenceSeconds);',
    replace: 'const epoch = 1;',
    scenario,
  },
  {
    name: 'image-lock-broken-before-fence',
    mechanism: 'the lock is broken first, and its owner is fenced then',
    promise: 'whoever takes the lock meets nobody who writes still',
    file: lock,
    find: 'const epoch = await fencer.fence(client, fenceSeconds);',
    replace:
      'await io.execute(headerObjectName(imageId), steps).catch(() => undefined); const epoch = await fencer.fence(client, fenceSeconds);',
    scenario,
  },
  {
    name: 'image-lock-given-back-uncertain',
    mechanism: 'an owner gives the lock back though it does not know how one of its writes ended',
    promise: 'when the lock changes hands every write has ended',
    file: session,
    find: 'this.isUncertain = true;',
    replace: 'undefined;',
    scenario,
  },
  {
    name: 'image-lock-given-back-early',
    mechanism: 'an owner gives the lock back while writes are under way',
    promise: 'when the lock changes hands every write has ended',
    file: session,
    find: `        this.update();
        await this.image.flush();
        // Closing`,
    replace: `        this.update();
        // Closing`,
    scenario,
  },
  {
    name: 'image-pause-ends-unsaid',
    mechanism: 'a writer that has waited long enough goes on without removing the record of the pause',
    promise: 'what an image was paused for happens while it is paused, or not at all',
    file: session,
    find: 'await removePause(this.options.io, this.image.header.id, {',
    replace: 'void ({',
    scenario,
  },
  {
    name: 'image-lock-taken-in-a-pause',
    mechanism: 'the lock of an image can be taken while it is paused',
    promise: 'nobody writes to an image that is paused',
    file: lock,
    find: `        { kind: 'assert-exists' },
        assertNotPaused,`,
    replace: `        { kind: 'assert-exists' },`,
    scenario,
  },
]
