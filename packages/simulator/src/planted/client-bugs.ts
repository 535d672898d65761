/** In the client and block libraries. */
import type { PlantedBug } from './planted-bug.ts'

export const clientBugs: readonly PlantedBug[] = [
  {
    name: 'flush-does-not-wait',
    mechanism: 'a flush of a block image answers at once',
    promise: 'after a flush, every write begun before it is durable',
    file: 'block/dist/image.js',
    find: '        await Promise.allSettled(this.writes);',
    replace: '        await Promise.resolve();',
    scenario: 'block',
  },
  {
    name: 'trim-takes-too-much',
    mechanism: 'a trim inside an object cuts the object',
    promise: 'a trim touches its range only',
    file: 'block/dist/image.js',
    find: 'const ops = toTheEnd\n',
    replace: 'const ops = part.offset > 0\n',
    scenario: 'block',
  },
  {
    name: 'timeout-told-as-failure',
    mechanism: 'an operation without an answer is reported as not applied',
    promise: 'what failed was not applied',
    file: 'client/dist/objecter.js',
    find: "outcome: operation.sends > 0 ? 'unknown' : 'not-applied',",
    replace: "outcome: 'not-applied',",
    scenario: 'timeouts',
  },
]
