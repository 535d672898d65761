/** TCP, and sockets of the file system, through node:net. Writes of one turn of the event loop leave in one system call (cork). */
import { lstat, unlink } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import {
  type Address,
  address,
  type ByteStream,
  type ByteStreamHandler,
  ClusterError,
  type ErrorCode,
  errorTable,
  type Listener,
  type Network,
  parseAddress,
} from '@shoal/base'
import { Receiver } from './receiver.ts'

const highWaterBytes = 1024 * 1024
const copiedBytesMax = 64 * 1024

function networkError(error: NodeJS.ErrnoException, remote: string): ClusterError {
  const code =
    error.code !== undefined && Object.hasOwn(errorTable, error.code) ? (error.code as ErrorCode) : 'ECONNRESET'
  return new ClusterError(code, `${remote}: ${error.message}`, { cause: error, retry: true, outcome: 'unknown' })
}

export class SocketStream implements ByteStream {
  readonly remote: string
  private readonly socket: Socket
  private readonly receiver: Receiver | undefined
  private handler: ByteStreamHandler | undefined
  /** What was written in this turn of the event loop. */
  private queued: Uint8Array[] = []
  private queuedBytes = 0
  private drainWanted = false
  private isClosed = false
  private isPaused = false
  private error: Error | undefined
  private readonly flush = (): void => {
    const { socket, queued, queuedBytes } = this
    this.queued = []
    this.queuedBytes = 0
    if (queued.length === 0 || socket.destroyed || socket.writableEnded) return
    if (queued.length > 1 && queuedBytes <= copiedBytesMax) {
      socket.write(Buffer.concat(queued, queuedBytes))
      return
    }
    socket.cork()
    for (const chunk of queued) socket.write(chunk)
    socket.uncork()
  }

  /** `receiver`: of a socket that does not read into buffers of its own. */
  constructor(socket: Socket, remote: string, receiver?: Receiver) {
    this.socket = socket
    this.remote = remote
    this.receiver = receiver
    // Held until somebody attaches: nothing may be lost between accept and attach.
    socket.pause()
    socket.on('error', (error) => {
      this.error = networkError(error, remote)
    })
    socket.on('drain', () => {
      if (!this.drainWanted) return
      this.drainWanted = false
      this.handler?.onDrain()
    })
    socket.once('close', () => {
      this.isClosed = true
      this.handler?.onClose(this.error)
    })
  }

  get bufferedBytes(): number {
    return this.socket.writableLength + this.queuedBytes
  }

  /** Gives the socket away, paused: what was written goes ahead of all that its new owner writes. Only `destroy` works on. */
  detach(): Socket {
    const { socket } = this
    this.flush()
    this.handler = undefined
    if (this.receiver !== undefined) this.receiver.onChunk = undefined
    socket.pause()
    socket.removeAllListeners('data')
    socket.removeAllListeners('drain')
    return socket
  }

  attach(handler: ByteStreamHandler): void {
    const { socket } = this
    if (this.isClosed) {
      queueMicrotask(() => handler.onClose(this.error))
      return
    }
    this.handler = handler
    if (socket.connecting) socket.once('connect', () => handler.onOpen())
    else queueMicrotask(() => handler.onOpen())
    if (this.receiver !== undefined) {
      this.receiver.onChunk = (chunk) => handler.onData(chunk)
    } else {
      // As a plain array: views of a Buffer are Buffers, and cost several times as much to make.
      socket.on('data', ({ buffer, byteOffset, length }: Buffer) =>
        handler.onData(new Uint8Array(buffer, byteOffset, length)),
      )
    }
    socket.resume()
  }

  /**
   * What is written in one turn of the event loop leaves in one system call, once the turn's input has been handled.
   * Up to `copiedBytesMax` it is copied together: the stream's bookkeeping for each chunk costs more than that.
   */
  write(chunks: readonly Uint8Array[]): boolean {
    const { socket } = this
    if (socket.destroyed || socket.writableEnded) return true
    if (this.queued.length === 0) setImmediate(this.flush)
    for (const chunk of chunks) {
      this.queued.push(chunk)
      this.queuedBytes += chunk.length
    }
    if (this.bufferedBytes < highWaterBytes) return true
    this.drainWanted = true
    return false
  }

  pause(): void {
    const { socket } = this
    this.isPaused = true
    socket.pause()
    // The second half of a resume that was asked for in this turn reads on, whatever was said since.
    if (this.receiver !== undefined) process.nextTick(() => this.isPaused && socket.pause())
  }

  resume(): void {
    this.isPaused = false
    this.socket.resume()
  }

  end(): void {
    this.flush()
    this.socket.end()
  }

  destroy(): void {
    this.socket.destroy()
  }
}

/** Bounds the queue of a listener whose owner is slow to accept. */
const backlog = 511
/** After so many milliseconds of silence the kernel asks whether the peer's host is still there. */
const keepAliveInitialDelay = 60_000

export class RealNetwork implements Network {
  connect(remote: Address): ByteStream {
    const parsed = parseAddress(remote)
    const { host, port } = parsed ?? { host: '', port: 0 }
    if (parsed === undefined || port === 0) return new RefusedStream(remote)
    const receiver = new Receiver()
    return new SocketStream(connect({ host, port, noDelay: true, onread: receiver.onread }), remote, receiver)
  }

  async listen(local: Address, onConnection: (stream: ByteStream) => void): Promise<Listener> {
    const path = socketPath(local)
    const parsed = path === undefined ? parseAddress(local) : { host: path, port: 0 }
    if (parsed === undefined) throw new ClusterError('EINVAL', `not HOST:PORT: ${local}`)
    if (path !== undefined) await removeDeadSocket(path)
    const sockets = new Set<Socket>()
    const server = createServer(
      { pauseOnConnect: true, noDelay: true, keepAlive: true, keepAliveInitialDelay },
      (accepted) => {
        const receiver = new Receiver()
        const socket = receiver.adopt(accepted)
        sockets.add(socket)
        socket.once('close', () => sockets.delete(socket))
        const remote = path === undefined ? `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}` : local
        onConnection(new SocketStream(socket, remote, receiver))
      },
    )
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const taken = error.code === 'EADDRINUSE'
        reject(
          new ClusterError(taken ? 'EBUSY' : 'EIO', `cannot listen on ${local}: ${error.message}`, {
            cause: error,
            ...(taken ? { hint: takenHint(path ?? parsed.port) } : {}),
          }),
        )
      })
      const endpoint = path === undefined ? { host: parsed.host, port: parsed.port } : { path }
      server.listen({ ...endpoint, backlog }, () => {
        const bound = server.address()
        const port = bound === null || typeof bound === 'string' ? parsed.port : bound.port
        const host = parsed.host.includes(':') ? `[${parsed.host}]` : parsed.host
        resolve({
          address: path === undefined ? address(`${host}:${port}`) : local,
          close: () =>
            new Promise((done) => {
              server.close(() => done())
              for (const socket of sockets) socket.destroy()
            }),
        })
      })
    })
  }
}

/** The path of `unix:PATH`, a socket in the file system; undefined for any other address. */
function socketPath(local: Address): string | undefined {
  return local.startsWith('unix:') ? local.slice('unix:'.length) : undefined
}

function takenHint(where: string | number): string {
  return `see who has it: ss ${typeof where === 'string' ? `-lxp src ${where}` : `-ltnp sport = :${where}`}`
}

/**
 * A listener that was killed leaves its socket behind, and nobody can listen there until it is gone. EBUSY unless it is
 * certain that nobody listens there any more; EEXIST when the file is no socket: that one is not ours to remove.
 */
async function removeDeadSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new ClusterError('EIO', `cannot listen on ${path}: ${error.message}`, { cause: error })
  })
  if (found === undefined) return
  if (!found.isSocket()) {
    throw new ClusterError('EEXIST', `cannot listen on ${path}: it is a file already`, {
      hint: 'choose another path, or remove the file if nobody needs it',
    })
  }
  const refusal = await connectError(path)
  // Whoever is too busy to accept gives EAGAIN, and lives.
  if (refusal?.code !== 'ECONNREFUSED' && refusal?.code !== 'ENOENT') {
    const why = refusal === undefined ? 'somebody does already' : `somebody may do already: ${refusal.message}`
    throw new ClusterError('EBUSY', `cannot listen on ${path}: ${why}`, { cause: refusal, hint: takenHint(path) })
  }
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT')
      throw new ClusterError('EIO', `cannot remove ${path}: ${error.message}`, { cause: error })
  })
}

/** Undefined when it is accepted. */
function connectError(path: string): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const probe = connect({ path })
    probe.once('connect', () => {
      probe.destroy()
      resolve(undefined)
    })
    probe.once('error', resolve)
  })
}

/** What `connect` gives for an address that nobody can have: it fails like a refused connection. */
class RefusedStream implements ByteStream {
  readonly remote: string
  readonly bufferedBytes = 0

  constructor(remote: string) {
    this.remote = remote
  }

  attach(handler: ByteStreamHandler): void {
    queueMicrotask(() =>
      handler.onClose(new ClusterError('ECONNREFUSED', `not an address to connect to: ${this.remote}`)),
    )
  }

  write(): boolean {
    return true
  }

  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}
}
