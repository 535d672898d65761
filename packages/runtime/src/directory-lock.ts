/**
 * One process per data directory.
 *
 * On Linux the lock is a listener on an abstract Unix socket named after the directory: the kernel takes it away with
 * the process, SIGKILL included, and no file is left behind. Who connects to it is told who holds it. Abstract sockets
 * belong to the network namespace; daemons that share a directory across namespaces are still stopped by LevelDB's own
 * file lock. Elsewhere the lock is a file with the holder's process id, which counts only while that process lives.
 */
import { createHash } from 'node:crypto'
import { readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { ClusterError } from '@shoal/base'

export interface DirectoryLock {
  release(): Promise<void>
}

/** Rejects with EBUSY (the hint says who holds it) or ENOENT. */
export async function lockDirectory(path: string, holder: string): Promise<DirectoryLock> {
  let directory: string
  try {
    directory = await realpath(path)
  } catch (cause) {
    throw new ClusterError('ENOENT', `${path}: no such directory`, { cause })
  }
  const description = `${holder}, process ${process.pid}`
  return process.platform === 'linux' ? lockBySocket(directory, description) : lockByFile(directory, description)
}

function busy(directory: string, holder: string | undefined, cause: unknown): ClusterError {
  const who = holder === undefined || holder === '' ? 'another process' : holder
  return new ClusterError('EBUSY', `${directory} is in use by ${who}`, {
    cause,
    hint: `${who} has it: stop that first (shoal daemon ls)`,
  })
}

async function lockBySocket(directory: string, description: string): Promise<DirectoryLock> {
  const name = `\0shoal-${createHash('sha256').update(directory).digest('hex').slice(0, 32)}`
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.end(description)
  })
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(name, resolve)
    })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EADDRINUSE') throw busy(directory, await askHolder(name), cause)
    throw new ClusterError('EIO', `cannot lock ${directory}: ${String(cause)}`, { cause })
  }
  server.unref()
  return {
    release: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

/** A holder that is stopped or busy does not answer in this time, and stays nameless. */
const answerMs = 500
const answerBytesMax = 200

function askHolder(name: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(name)
    socket.setTimeout(answerMs, () => socket.destroy())
    socket.on('data', (chunk) => {
      answer = (answer + chunk.toString('utf8')).slice(0, answerBytesMax)
    })
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(answer === '' ? undefined : answer))
  })
}

export async function lockByFile(directory: string, description: string): Promise<DirectoryLock> {
  const file = join(directory, 'lock')
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      await writeFile(file, `${process.pid}\n${description}`, { flag: 'wx', mode: 0o600 })
      return { release: () => rm(file, { force: true }) }
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') {
        throw new ClusterError('EIO', `cannot lock ${directory}: ${String(cause)}`, { cause })
      }
      const [pid = '', holder] = (await readFile(file, 'utf8').catch(() => '')).split('\n')
      if (isAlive(Number(pid))) throw busy(directory, holder, cause)
      await rm(file, { force: true })
    }
  }
  throw busy(directory, undefined, undefined)
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
