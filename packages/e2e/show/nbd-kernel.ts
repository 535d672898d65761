/**
 * Shows what the Linux kernel's own NBD client makes of a gateway: a cluster here, and `nbd-guest.py` in a Linux that has the
 * client, which may be a virtual one. Exit code 0: all of it held; 1: something did not; 2: nothing says where to run.
 *
 *   SHOAL_LINUX_RUNNER='COMMAND --forward {nbd} --forward {control}' SHOAL_LINUX_HOST=10.0.2.2 node scripts/show-nbd.mjs
 *
 * COMMAND runs the program named behind it, with its arguments, as root in that Linux; `{nbd}` and `{control}` become ports of
 * this machine's loopback that must be reached there at SHOAL_LINUX_HOST. For this very kernel: SHOAL_LINUX_RUNNER=env
 * SHOAL_LINUX_HOST=127.0.0.1. Python, fio, e2fsprogs and util-linux must be there, and the module `nbd`.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { TestCluster } from '../test/support/cluster.ts'

const image = 'block/kernel'
const imageSize = '256M'

/** What the guest may ask for, by the word that it sends. */
async function answer(cluster: TestCluster, word: string): Promise<string> {
  const pidOf = async (): Promise<number> => (await cluster.daemon('nbd.0')).pid
  switch (word) {
    case 'used': {
      const { usedBytes } = await cluster.json<{ readonly usedBytes: number }>('block', 'du', image)
      return String(usedBytes)
    }
    case 'restart':
      await cluster.ok('daemon', 'stop', 'nbd.0')
      await cluster.ok('daemon', 'start', 'nbd.0')
      return 'done'
    case 'kill': {
      const pid = await pidOf()
      process.kill(pid, 'SIGKILL')
      await cluster.until('the gateway runs again', async () => {
        const { state, pid: now } = await cluster.daemon('nbd.0')
        return state === 'running' && now !== pid
      })
      return 'done'
    }
    default:
      throw new Error(`the guest asks for '${word}'`)
  }
}

function serve(cluster: TestCluster, socket: Socket): void {
  socket.once('data', (data) => {
    answer(cluster, data.toString().trim()).then(
      (text) => socket.end(`${text}\n`),
      (error: unknown) => {
        process.stderr.write(`${String(error)}\n`)
        socket.destroy()
      },
    )
  })
  socket.on('error', () => undefined)
}

async function show(runner: string, host: string): Promise<number> {
  const cluster = await TestCluster.create()
  const control = createServer((socket) => serve(cluster, socket))
  try {
    await cluster.ok('block', 'create', image, '--size', imageSize)
    await new Promise<void>((resolve) => control.listen(0, '127.0.0.1', resolve))
    const controlPort = (control.address() as { readonly port: number }).port
    const nbdPort = Number((await cluster.daemon('nbd.0')).address.split(':').at(-1))
    const words = runner
      .split(/\s+/)
      .map((word) => word.replaceAll('{nbd}', String(nbdPort)).replaceAll('{control}', String(controlPort)))
    const guest = [join(import.meta.dirname, 'nbd-guest.py'), host, String(nbdPort), image, String(controlPort)]
    const child = spawn(words[0] as string, [...words.slice(1), ...guest], { stdio: ['ignore', 'inherit', 'inherit'] })
    const [code] = (await once(child, 'exit')) as [number | null]
    return code ?? 1
  } finally {
    control.close()
    await cluster.destroy()
  }
}

const runner = process.env['SHOAL_LINUX_RUNNER'] ?? ''
if (runner === '') {
  process.stderr.write('SHOAL_LINUX_RUNNER says nothing of where to run: see packages/e2e/show/nbd-kernel.ts\n')
  process.exit(2)
}
process.exitCode = (await show(runner, process.env['SHOAL_LINUX_HOST'] ?? '127.0.0.1')) === 0 ? 0 : 1
