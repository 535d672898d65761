/** `shoal block ...`: thin images (Ceph's `rbd`). */
import type { Command } from 'commander'
import { addImageBenchCommand } from './bench.ts'
import { addCloneCommands } from './clone.ts'
import { addImageConfigCommands } from './config.ts'
import { addDiffCommands } from './diff-streams.ts'
import { addGroupCommands } from './group.ts'
import { addImageStreamCommands } from './image-streams.ts'
import { addImageCommands } from './images.ts'
import { addImageLockCommands } from './lock.ts'
import { addMetaCommands } from './meta.ts'
import { addMirrorCommands } from './mirror.ts'
import { addBlockSnapCommands } from './snap.ts'
import { addImageTopCommand } from './top.ts'
import { addTrashCommands } from './trash.ts'

export function addBlockCommands(program: Command): void {
  const block = program.command('block').description('block images')
  addImageCommands(block)
  addBlockSnapCommands(block)
  addCloneCommands(block)
  addTrashCommands(block)
  addMetaCommands(block)
  addImageLockCommands(block)
  addGroupCommands(block)
  addImageConfigCommands(block)
  addImageBenchCommand(block)
  addImageTopCommand(block)
  addImageStreamCommands(block)
  addDiffCommands(block)
  addMirrorCommands(block)
}
