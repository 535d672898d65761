// `npm run sim -- --seed N`: one simulation; with `swarm` as the first argument, seed after seed. Builds what is stale.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { prepare, root } from './lib/prepare.mjs'

prepare()
const words = process.argv.slice(2).filter((word) => word !== '--')
const swarm = words[0] === 'swarm'
const program = join(root, 'packages', 'simulator', 'dist', swarm ? 'swarm.js' : 'main.js')
const { status } = spawnSync(process.execPath, [program, ...words.slice(swarm ? 1 : 0)], { stdio: 'inherit' })
process.exitCode = status ?? 1
