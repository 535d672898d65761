// The static checks, cheapest first: formatting, types of sources and tests, lint, dead code.
import { join } from 'node:path'
import { prepare, root, run } from './lib/prepare.mjs'

prepare()
const bin = (name) => join(root, 'node_modules', '.bin', name)
run(bin('biome'), ['check', '.'])
run(bin('tsc'), ['-p', 'tsconfig.test.json'])
run(bin('oxlint'), ['--type-aware', '--deny-warnings'])
run(bin('knip'), ['--no-config-hints'])
