import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect } from 'vitest'

/** Numbers of the protocol, written down once more: a wrong one in the gateway must not agree with itself. */
export const command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const
export const flag = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16, payloadLength: 32 } as const
export const option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
  extendedHeaders: 11,
} as const
export const reply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  unsupported: 0x80000001,
  policy: 0x80000002,
  invalid: 0x80000003,
  tlsRequired: 0x80000005,
  unknown: 0x80000006,
  tooBig: 0x80000009,
  extendedHeadersRequired: 0x8000000a,
} as const
export const errno = { EPERM: 1, EIO: 5, EINVAL: 22, ENOSPC: 28, ENOTSUP: 95 } as const

export interface OptionReply {
  readonly type: number
  readonly data: Buffer
}

/** Of a structured or an extended reply. */
export interface Chunk {
  readonly type: number
  readonly done: boolean
  readonly cookie: bigint
  readonly offset: bigint | undefined
  readonly payload: Buffer
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

const text = (value: string): Buffer => Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)])

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

  /** Resolves once the gateway has hung up. */
  async closed(): Promise<void> {
    // Not with `once` of events, to which a reset would be an error.
    if (!this.socket.closed) await new Promise<void>((resolve) => this.socket.once('close', () => resolve()))
  }

  // Handshake

  async greet(flags = 3): Promise<void> {
    await this.take(18)
    this.socket.write(u32(flags))
  }

  option(code: number, data: Buffer = Buffer.alloc(0)): void {
    const header = Buffer.alloc(16)
    header.write('IHAVEOPT', 'latin1')
    header.writeUInt32BE(code, 8)
    header.writeUInt32BE(data.length, 12)
    this.socket.write(Buffer.concat([header, data]))
  }

  async optionReply(): Promise<OptionReply> {
    const header = await this.take(20)
    expect(header.readBigUInt64BE(0)).toBe(0x3e889045565a9n)
    return { type: header.readUInt32BE(12), data: await this.take(header.readUInt32BE(16)) }
  }

  /** All replies to one option; the last is an acknowledgement or an error. */
  async ask(code: number, data: Buffer = Buffer.alloc(0)): Promise<readonly OptionReply[]> {
    this.option(code, data)
    const replies: OptionReply[] = []
    for (;;) {
      const one = await this.optionReply()
      replies.push(one)
      if (one.type === reply.ack || one.type >= 0x80000000) return replies
    }
  }

  async expectAck(code: number, data?: Buffer): Promise<void> {
    expect((await this.ask(code, data)).map(({ type }) => type)).toEqual([reply.ack])
  }

  askGo(name: string, code: number = option.go): Promise<readonly OptionReply[]> {
    return this.ask(code, Buffer.concat([text(name), Buffer.alloc(2)]))
  }

  /** To transmission; the answer is what the export's information says. */
  async go(name = 'pool/disk'): Promise<{ readonly sizeBytes: number; readonly flags: number }> {
    const replies = await this.askGo(name)
    expect(replies.at(-1)?.type).toBe(reply.ack)
    const info = replies.find(({ type, data }) => type === reply.info && data.readUInt16BE(0) === 0)?.data as Buffer
    return { sizeBytes: Number(info.readBigUInt64BE(2)), flags: info.readUInt16BE(10) }
  }

  /** Ids by name, of what was listed or selected. */
  async contexts(code: number, name: string, queries: readonly string[]): Promise<Map<string, number>> {
    const replies = await this.ask(code, Buffer.concat([text(name), u32(queries.length), ...queries.map(text)]))
    expect(replies.at(-1)?.type).toBe(reply.ack)
    return new Map(replies.slice(0, -1).map(({ data }) => [data.subarray(4).toString(), data.readUInt32BE(0)]))
  }

  /** To transmission, by the oldest way: EXPORT_NAME, simple replies. The answer is the size of the export. */
  async start(name = 'pool/disk'): Promise<number> {
    await this.greet()
    this.option(option.exportName, Buffer.from(name))
    return Number((await this.take(10)).readBigUInt64BE(0))
  }

  async startExtended(name = 'pool/disk'): Promise<void> {
    await this.greet()
    await this.expectAck(option.extendedHeaders)
    await this.go(name)
  }

  // Transmission

  request(type: number, offset: number, length: number, flags = 0, cookie = 77n): void {
    const header = Buffer.alloc(28)
    header.writeUInt32BE(0x25609513, 0)
    header.writeUInt16BE(flags, 4)
    header.writeUInt16BE(type, 6)
    header.writeBigUInt64BE(cookie, 8)
    header.writeBigUInt64BE(BigInt(offset), 16)
    header.writeUInt32BE(length, 24)
    this.socket.write(header)
  }

  extended(
    type: number,
    offset: bigint | number,
    length: bigint | number,
    flags = 0,
    payload?: Buffer,
    cookie = 77n,
  ): void {
    const header = Buffer.alloc(32)
    header.writeUInt32BE(0x21e41c71, 0)
    header.writeUInt16BE(flags, 4)
    header.writeUInt16BE(type, 6)
    header.writeBigUInt64BE(cookie, 8)
    header.writeBigUInt64BE(BigInt(offset), 16)
    header.writeBigUInt64BE(BigInt(length), 24)
    this.socket.write(payload === undefined ? header : Buffer.concat([header, payload]))
  }

  async simpleError(cookie = 77n): Promise<number> {
    const header = await this.take(16)
    expect(header.readUInt32BE(0)).toBe(0x67446698)
    expect(header.readBigUInt64BE(8)).toBe(cookie)
    return header.readUInt32BE(4)
  }

  /** Whichever comes next; what follows a simple reply only its request tells. */
  async anyReply(
    payloadBytes: (cookie: bigint, error: number) => number,
  ): Promise<
    | ({ readonly kind: 'chunk' } & Chunk)
    | { readonly kind: 'simple'; readonly cookie: bigint; readonly error: number; readonly payload: Buffer }
  > {
    const magic = (await this.take(4)).readUInt32BE(0)
    if (magic !== 0x67446698) return { kind: 'chunk', ...(await this.chunkOf(magic)) }
    const header = await this.take(12)
    const [error, cookie] = [header.readUInt32BE(0), header.readBigUInt64BE(4)]
    return { kind: 'simple', cookie, error, payload: await this.take(payloadBytes(cookie, error)) }
  }

  async chunk(): Promise<Chunk> {
    return this.chunkOf((await this.take(4)).readUInt32BE(0))
  }

  private async chunkOf(magic: number): Promise<Chunk> {
    expect([0x668e33ef, 0x6e8a278c]).toContain(magic)
    const extended = magic === 0x6e8a278c
    const header = await this.take(extended ? 28 : 16)
    return {
      done: (header.readUInt16BE(0) & 1) === 1,
      type: header.readUInt16BE(2),
      cookie: header.readBigUInt64BE(4),
      offset: extended ? header.readBigUInt64BE(12) : undefined,
      payload: await this.take(extended ? Number(header.readBigUInt64BE(20)) : header.readUInt32BE(12)),
    }
  }

  /** All chunks of one reply. */
  async chunks(): Promise<readonly Chunk[]> {
    const chunks: Chunk[] = []
    do chunks.push(await this.chunk())
    while (chunks.at(-1)?.done !== true)
    return chunks
  }

  /** The error that a reply in chunks ends with; 0 for success. */
  async chunkedError(): Promise<number> {
    const last = (await this.chunks()).at(-1) as Chunk
    return last.type === 0x8001 ? last.payload.readUInt32BE(0) : 0
  }
}
