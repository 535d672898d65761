// `npm start`: install what is missing, build what has changed, run a cluster in the foreground.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { prepare, root } from './lib/prepare.mjs'

prepare()
const up = spawn(process.execPath, [join(root, 'scripts', 'shoal'), 'up', ...process.argv.slice(2)], {
  stdio: 'inherit',
})
// Ctrl-C reaches the whole foreground process group; npm may also pass a signal on. The cluster decides when it is done.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => up.kill(signal))
up.on('exit', (code, signal) => process.exit(code ?? (signal === null ? 1 : 130)))
