/** Somebody between two machines who reads and changes what goes over every connection that one of them opens. */
import {
  type Address,
  type ByteStream,
  type ByteStreamHandler,
  concatBytes,
  type Listener,
  type Network,
} from '@shoal/base'

type Direction = 'out' | 'in'

/** May change `bytes` in place; `at` is how many went this way before them on this connection. */
export type Tamper = (direction: Direction, bytes: Uint8Array, at: number, connection: number) => void

class TamperedStream implements ByteStream {
  private readonly inner: ByteStream
  private readonly tamper: (direction: Direction, bytes: Uint8Array, at: number) => void
  private out = 0
  private in = 0

  constructor(inner: ByteStream, tamper: (direction: Direction, bytes: Uint8Array, at: number) => void) {
    this.inner = inner
    this.tamper = tamper
  }

  get remote(): string {
    return this.inner.remote
  }

  get bufferedBytes(): number {
    return this.inner.bufferedBytes
  }

  attach(handler: ByteStreamHandler): void {
    this.inner.attach({
      onOpen: () => handler.onOpen(),
      onDrain: () => handler.onDrain(),
      onClose: (error) => handler.onClose(error),
      onData: (chunk) => {
        this.tamper('in', chunk, this.in)
        this.in += chunk.length
        handler.onData(chunk)
      },
    })
  }

  write(chunks: readonly Uint8Array[]): boolean {
    if (chunks.length === 0) return this.inner.write(chunks)
    // The sender's own buffers stay as they are.
    const bytes = concatBytes(chunks).slice()
    this.tamper('out', bytes, this.out)
    this.out += bytes.length
    return this.inner.write([bytes])
  }

  pause(): void {
    this.inner.pause()
  }

  resume(): void {
    this.inner.resume()
  }

  end(): void {
    this.inner.end()
  }

  destroy(): void {
    this.inner.destroy()
  }
}

export class TamperedNetwork implements Network {
  private readonly inner: Network
  private readonly tamper: Tamper
  private connections = 0

  constructor(inner: Network, tamper: Tamper) {
    this.inner = inner
    this.tamper = tamper
  }

  connect(address: Address): ByteStream {
    const connection = this.connections++
    return new TamperedStream(this.inner.connect(address), (direction, bytes, at) =>
      this.tamper(direction, bytes, at, connection),
    )
  }

  listen(address: Address, onConnection: (stream: ByteStream) => void): Promise<Listener> {
    return this.inner.listen(address, onConnection)
  }
}
