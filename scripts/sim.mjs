// `npm run sim -- --seed N`: one simulation; with `swarm` as the first argument, seed after seed; with `planted`, a hunt for
// each planted bug. Builds what is stale.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { prepare, root } from './lib/prepare.mjs'

prepare()
const words = process.argv.slice(2).filter((word) => word !== '--')
const programs = { swarm: 'swarm.js', planted: 'planted/run-planted.js' }
const special = programs[words[0]]
const program = join(root, 'packages', 'simulator', 'dist', special ?? 'main.js')
const { status } = spawnSync(process.execPath, [program, ...words.slice(special === undefined ? 0 : 1)], {
  stdio: 'inherit',
})
process.exitCode = status ?? 1
