import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect } from 'vitest'

/** A client that says exactly what it is told to. */
export class RawClient {
  readonly socket: Socket
  private received = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      this.received = Buffer.concat([this.received, chunk])
    })
    socket.on('error', () => undefined)
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new RawClient(socket)
  }

  async take(length: number): Promise<Buffer> {
    while (this.received.length < length) await once(this.socket, 'data', { signal: AbortSignal.timeout(60_000) })
    const taken = this.received.subarray(0, length)
    this.received = this.received.subarray(length)
    return taken
  }

  option(code: number, data: Buffer = Buffer.alloc(0)): void {
    const header = Buffer.alloc(16)
    header.write('IHAVEOPT', 'latin1')
    header.writeUInt32BE(code, 8)
    header.writeUInt32BE(data.length, 12)
    this.socket.write(Buffer.concat([header, data]))
  }

  request(type: number, offset: number, length: number, flags = 0): void {
    const header = Buffer.alloc(28)
    header.writeUInt32BE(0x25609513, 0)
    header.writeUInt16BE(flags, 4)
    header.writeUInt16BE(type, 6)
    header.writeBigUInt64BE(77n, 8)
    header.writeBigUInt64BE(BigInt(offset), 16)
    header.writeUInt32BE(length, 24)
    this.socket.write(header)
  }

  async simpleError(): Promise<number> {
    const reply = await this.take(16)
    expect(reply.readUInt32BE(0)).toBe(0x67446698)
    expect(reply.readBigUInt64BE(8)).toBe(77n)
    return reply.readUInt32BE(4)
  }

  /** To transmission, by the oldest way: EXPORT_NAME, simple replies. The answer is the size of the export. */
  async start(name = 'pool/disk'): Promise<number> {
    await this.take(18)
    this.socket.write(Buffer.from([0, 0, 0, 3]))
    this.option(1, Buffer.from(name))
    return Number((await this.take(10)).readBigUInt64BE(0))
  }
}
