/** A worker of a swarm does not outlive whoever started it, not even in the middle of a seed that takes for ever. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'

const main = fileURLToPath(new URL('../../simulator/dist/main.js', import.meta.url))
const parentCode = `
  const [main] = process.argv.slice(-1)
  const { spawn } = require('node:child_process')
  const args = [main, '--serve', '--virtual-seconds', '1000000']
  const worker = spawn(process.execPath, args, { stdio: ['pipe', 'ignore', 'ignore', 'ipc'] })
  worker.stdin.write('1\\n', () => console.log(worker.pid))
`
let workerPid: number | undefined

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

afterEach(() => {
  if (workerPid !== undefined && isAlive(workerPid)) process.kill(workerPid, 'SIGKILL')
})

test('a worker ends with its parent, however that ended', async () => {
  const parent = spawn(process.execPath, ['-e', parentCode, main], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(parent.stdout, 'data')) as [Buffer]
  const pid = Number(line.toString())
  workerPid = pid
  expect(isAlive(pid)).toBe(true)
  parent.kill('SIGKILL')
  await once(parent, 'exit')
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 100))
}, 60_000)
