/** In scrub: what it overlooks, whom it blames, what it looks at. */
import type { PlantedBug } from './planted-bug.ts'

export const scrubBugs: readonly PlantedBug[] = [
  {
    name: 'scrub-overlooks-damage',
    mechanism: 'a member does not tell which of its objects fail their checksums',
    promise: 'after a deep scrub every copy can be read and is equal to the others',
    file: 'osd/dist/scrub-reader.js',
    find: 'examined.damage.reduce((sum, each) => sum + bits[each], 0)',
    replace: 'examined.damage.slice(0, 0).reduce((sum, each) => sum + bits[each], 0)',
    scenario: 'scrubs-at-rest',
  },
  {
    name: 'repair-blames-the-good',
    mechanism: 'the copies that are right are given up, and written anew from the bad one',
    promise: 'a good copy is never replaced',
    file: 'placement-group/dist/scrub-compare.js',
    find: '.filter((osd) => !good.includes(osd))',
    replace: '.filter((osd) => good.includes(osd))',
    scenario: 'scrubs',
  },
  {
    name: 'blob-digest-of-units',
    mechanism: 'the digest of a compressed block is that of how it is stored',
    promise: 'scrub finds no difference between copies that are compressed differently',
    file: 'object-store/dist/examiner.js',
    find: 'unit: holeUnit, checksum: this.checksums.low32(block)',
    replace: 'unit: holeUnit, checksum: (blob.checksums[0] + bit) >>> 0',
    scenario: 'scrubs-compressed',
  },
  {
    name: 'scrub-beside-writes',
    mechanism: 'a range is written to while its maps are made',
    promise: 'scrub finds no difference where there is none',
    file: 'placement-group/dist/scrub-chunk.js',
    find: '        this.contended = true;\n        return true;',
    replace: '        return false;',
    scenario: 'scrubs-beside-writes',
  },
]
