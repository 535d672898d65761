// `node scripts/show-nbd.mjs`: shows what the Linux kernel's own NBD client makes of a gateway; packages/e2e/show/nbd-kernel.ts
// says what it needs. Builds what is stale.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { prepare, root } from './lib/prepare.mjs'

prepare()
const tsx = join(root, 'node_modules', '.bin', 'tsx')
const words = ['--conditions=source', join(root, 'packages', 'e2e', 'show', 'nbd-kernel.ts')]
const { status } = spawnSync(tsx, words, { stdio: 'inherit' })
process.exitCode = status ?? 1
