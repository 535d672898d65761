/** A worker of a swarm does not outlive whoever started it, not even in the middle of a seed that takes for ever. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, test } from 'vitest'

const main = fileURLToPath(new URL('../../simulator/dist/main.js', import.meta.url))
const parentCode = `
  const [main] = process.argv.slice(-1)
  const { spawn } = require('node:child_process')
  const args = [main, '--serve', '--virtual-seconds', '20000']
  const worker = spawn(process.execPath, args, { stdio: ['pipe', 'inherit', 'ignore', 'ipc'] })
  worker.stdin.write('1\\n', () => console.log(worker.pid))
`
let workerPid: number | undefined

afterEach(() => {
  try {
    if (workerPid !== undefined) process.kill(workerPid, 'SIGKILL')
  } catch {
    // It has ended, as it should.
  }
})

test('a worker ends with its parent, however that ended', async () => {
  const parent = spawn(process.execPath, ['-e', parentCode, main], { stdio: ['ignore', 'pipe', 'inherit'] })
  // Both write to this pipe: it is closed when both have ended.
  const closed = once(parent, 'close')
  const [line] = (await once(parent.stdout, 'data')) as [Buffer]
  workerPid = Number(line.toString())
  parent.kill('SIGKILL')
  await closed
}, 60_000)
