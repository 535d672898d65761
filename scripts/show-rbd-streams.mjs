// `node scripts/show-rbd-streams.mjs [record]`: streams of images between a real `rbd` and us. Builds what is stale.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { prepare, root } from './lib/prepare.mjs'

prepare()
const tsx = join(root, 'node_modules', '.bin', 'tsx')
const words = ['--conditions=source', join(root, 'packages', 'e2e', 'show', 'rbd-streams.ts'), ...process.argv.slice(2)]
const { status } = spawnSync(tsx, words, { stdio: 'inherit' })
process.exitCode = status ?? 1
