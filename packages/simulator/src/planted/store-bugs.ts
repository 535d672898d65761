/** In the object store: order of writes and syncs, space, checksums, checkpoints, replay. */
import type { PlantedBug } from './planted-bug.ts'

export const storeBugs: readonly PlantedBug[] = [
  {
    name: 'journal-not-synced',
    mechanism: 'a group of journal records is acknowledged without datasync',
    promise: 'an acknowledged write is on stable storage',
    file: 'object-store/dist/journal.js',
    find: 'await file.writeDurable(chunks,',
    replace: 'await file.write(chunks,',
    scenario: 'power',
  },
  {
    name: 'checkpoint-mark-too-late',
    mechanism: 'a checkpoint says that it covers records that came while it ran',
    promise: 'replay begins at the first record that no checkpoint holds',
    file: 'object-store/dist/checkpointer.js',
    find: 'encodeState(state))], { sync: true });',
    replace: 'encodeState({ ...mark(), ...change }))], { sync: true });',
    scenario: 'restarts',
  },
  {
    name: 'checkpoint-without-data-sync',
    mechanism: 'the tail of the journal moves on before the data file is synced',
    promise: 'what the journal lets go of is in the data file, durably',
    file: 'object-store/dist/checkpointer.js',
    find: '        await data.datasync();\n',
    replace: '',
    scenario: 'power',
  },
  {
    name: 'freed-unit-reused-early',
    mechanism: 'a freed unit is given out again before the checkpoint that forgets its former owner',
    promise: 'after a crash, replay finds what its records refer to',
    file: 'object-store/dist/execution.js',
    find: '        freedUnits.push(unit);\n',
    replace: '        this.allocator?.release(unit);\n        freedUnits.push(unit);\n        freedUnits.length--;\n',
    scenario: 'restarts',
  },
  {
    name: 'direct-write-not-synced',
    mechanism: 'a record is written before the data that it refers to is synced',
    promise: 'a durable record has its data',
    file: 'object-store/dist/file-object-store.js',
    find: '            await this.parts.files.data.datasync();\n',
    replace: '',
    scenario: 'power-large',
  },
  {
    name: 'checksum-not-verified',
    mechanism: 'blocks from the disk are returned without a look at their checksum',
    promise: 'bytes that rot on the disk are never returned',
    file: 'object-store/dist/data-reader.js',
    find: `            if (this.checksums.low32(block) !== checksum)
                continue;
            blocks[at + i] = block;`,
    replace: '            blocks[at + i] = block;',
    scenario: 'rot',
  },
  {
    name: 'replay-forgets-images',
    mechanism: 'replay applies what a record says, not the bytes that it carries',
    promise: 'replay rebuilds what was acknowledged',
    file: 'object-store/dist/replay.js',
    find: '            pending.addImage(unit, data, record.sequence);',
    replace: '            void [unit, data];',
    scenario: 'restarts',
  },
]
