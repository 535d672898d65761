/** TCP through node:net. Writes of one turn of the event loop leave in one system call (cork). */
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

const highWaterBytes = 1024 * 1024
const copiedBytesMax = 64 * 1024

function networkError(error: NodeJS.ErrnoException, remote: string): ClusterError {
  const code =
    error.code !== undefined && Object.hasOwn(errorTable, error.code) ? (error.code as ErrorCode) : 'ECONNRESET'
  return new ClusterError(code, `${remote}: ${error.message}`, { cause: error, retry: true, outcome: 'unknown' })
}

class TcpStream implements ByteStream {
  readonly remote: string
  private readonly socket: Socket
  private handler: ByteStreamHandler | undefined
  /** What was written in this turn of the event loop. */
  private queued: Uint8Array[] = []
  private queuedBytes = 0
  private drainWanted = false
  private isClosed = false
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

  constructor(socket: Socket, remote: string) {
    this.socket = socket
    this.remote = remote
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

  attach(handler: ByteStreamHandler): void {
    const { socket } = this
    if (this.isClosed) {
      queueMicrotask(() => handler.onClose(this.error))
      return
    }
    this.handler = handler
    if (socket.connecting) socket.once('connect', () => handler.onOpen())
    else queueMicrotask(() => handler.onOpen())
    // As a plain array: views of a Buffer are Buffers, and cost several times as much to make.
    socket.on('data', ({ buffer, byteOffset, length }: Buffer) =>
      handler.onData(new Uint8Array(buffer, byteOffset, length)),
    )
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
    this.socket.pause()
  }

  resume(): void {
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

export class RealNetwork implements Network {
  connect(remote: Address): ByteStream {
    const parsed = parseAddress(remote)
    const { host, port } = parsed ?? { host: '', port: 0 }
    if (parsed === undefined || port === 0) return new RefusedStream(remote)
    return new TcpStream(connect({ host, port, noDelay: true }), remote)
  }

  listen(local: Address, onConnection: (stream: ByteStream) => void): Promise<Listener> {
    const parsed = parseAddress(local)
    if (parsed === undefined) return Promise.reject(new ClusterError('EINVAL', `not HOST:PORT: ${local}`))
    const sockets = new Set<Socket>()
    const server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      onConnection(new TcpStream(socket, `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`))
    })
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const taken = error.code === 'EADDRINUSE'
        reject(
          new ClusterError(taken ? 'EBUSY' : 'EIO', `cannot listen on ${local}: ${error.message}`, {
            cause: error,
            ...(taken ? { hint: `see who has it: ss -ltnp sport = :${parsed.port}` } : {}),
          }),
        )
      })
      server.listen({ host: parsed.host, port: parsed.port, backlog }, () => {
        const bound = server.address()
        const port = bound === null || typeof bound === 'string' ? parsed.port : bound.port
        const host = parsed.host.includes(':') ? `[${parsed.host}]` : parsed.host
        resolve({
          address: address(`${host}:${port}`),
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
