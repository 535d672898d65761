/**
 * One process per data directory. The lock is a listener on an abstract Unix socket named after the directory: the
 * kernel takes it away with the process, SIGKILL included, and no file is left behind. Abstract sockets belong to the
 * network namespace; daemons that share a directory across namespaces are still stopped by LevelDB's own file lock.
 */
import { createHash } from 'node:crypto'
import { realpath } from 'node:fs/promises'
import { createServer } from 'node:net'
import { ClusterError } from '@shoal/base'

export async function lockDirectory(path: string): Promise<{ release(): Promise<void> }> {
  const name = createHash('sha256')
    .update(await realpath(path))
    .digest('hex')
    .slice(0, 32)
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        cause.code === 'EADDRINUSE'
          ? new ClusterError('EBUSY', `${path} is in use by another process`, {
              cause,
              hint: 'stop that daemon first: shoal daemon ls',
            })
          : new ClusterError('EIO', `cannot lock ${path}: ${cause.message}`, { cause }),
      )
    })
    server.listen(`\0shoal-${name}`, resolve)
  })
  server.unref()
  return {
    release: () => new Promise((resolve) => server.close(() => resolve())),
  }
}
