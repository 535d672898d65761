/**
 * Random requests, good and bad, many at a time, in each form of replies, against a model: each is answered once, with the
 * error that the model says, and the disk is what the model's is.
 */
import { address } from '@shoal/base'
import { NbdServer } from '@shoal/gateway-nbd'
import { createRealEnv } from '@shoal/runtime'
import * as fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MemoryDevice, memoryExports } from './memory-device.ts'
import { command, errno, flag, option, RawClient } from './raw-client.ts'

const sizeBytes = 128 * 1024

let server: NbdServer
let port: number
let disk: MemoryDevice

beforeEach(async () => {
  disk = new MemoryDevice(sizeBytes)
  server = new NbdServer(
    createRealEnv({ name: 'nbd-test', logLevel: 'error' }),
    memoryExports({ 'pool/disk': disk, 'pool/frozen': new MemoryDevice(sizeBytes, true) }),
  )
  port = Number((await server.listen(address('127.0.0.1:0'))).split(':')[1])
})
afterEach(() => server.close())

type Form = 'simple' | 'structured' | 'extended'

interface Request {
  readonly type: number
  readonly flags: number
  readonly offset: number
  readonly length: number
  readonly byte: number
}

const request: fc.Arbitrary<Request> = fc.record({
  type: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(0, 1, 4, 6) }, fc.constantFrom(3, 5, 7, 8, 4711)),
  flags: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(31)),
  offset: fc.nat(sizeBytes + 100),
  length: fc.oneof(fc.nat(9000), fc.nat(sizeBytes)),
  byte: fc.integer({ min: 1, max: 255 }),
})

/** As the protocol has it, said once more. */
const flagsOf: Readonly<Record<number, number>> = {
  [command.read]: flag.df,
  [command.write]: 0,
  [command.flush]: 0,
  [command.trim]: 0,
  [command.cache]: 0,
  [command.writeZeroes]: flag.noHole | flag.fastZero,
  [command.blockStatus]: flag.reqOne,
}

function expectedError({ type, flags, offset, length }: Request, form: Form, readOnly: boolean): number {
  const allowed = flagsOf[type]
  if (allowed === undefined || (flags & ~(allowed | flag.fua)) !== 0) return errno.EINVAL
  if ((flags & flag.df) !== 0 && form === 'simple') return errno.EINVAL
  if ((flags & flag.fastZero) !== 0 && readOnly) return errno.EINVAL
  if ((flags & flag.fastZero) !== 0 && (flags & flag.noHole) !== 0) return errno.ENOTSUP
  if (type === command.flush) return offset === 0 && length === 0 ? 0 : errno.EINVAL
  if (type === command.blockStatus && (form === 'simple' || length === 0)) return errno.EINVAL
  const writes = type === command.write || type === command.trim || type === command.writeZeroes
  if (writes && readOnly) return errno.EPERM
  if (offset + length <= sizeBytes) return 0
  return type === command.write ? errno.ENOSPC : errno.EINVAL
}

async function connect(form: Form, name: string): Promise<RawClient> {
  const client = await RawClient.open(port)
  await client.greet()
  if (form === 'structured') await client.expectAck(option.structuredReply)
  if (form === 'extended') await client.expectAck(option.extendedHeaders)
  if (form !== 'simple') await client.contexts(option.setMetaContext, name, ['base:allocation'])
  await client.go(name)
  return client
}

function send(client: RawClient, { type, flags, offset, length, byte }: Request, cookie: bigint, form: Form): void {
  const payload = type === command.write ? Buffer.alloc(length, byte) : undefined
  if (form === 'extended') {
    const withPayload = payload === undefined ? flags : flags | flag.payloadLength
    client.extended(type, offset, length, withPayload, payload, cookie)
    return
  }
  client.request(type, offset, length, flags, cookie)
  if (payload !== undefined) client.socket.write(payload)
}

interface Answer {
  readonly error: number
  /** What a read gave. */
  readonly data: Buffer
}

/** All answers, by cookie. The lengths of reads are needed where replies do not tell them. */
async function receive(client: RawClient, requests: readonly Request[]): Promise<Map<number, Answer>> {
  const answers = new Map<number, Answer>()
  const partial = new Map<number, Buffer>()
  while (answers.size < requests.length) {
    const reply = await client.anyReply((cookie, error) => {
      const asked = requests[Number(cookie)] as Request
      return asked.type === command.read && error === 0 ? asked.length : 0
    })
    const cookie = Number(reply.cookie)
    const asked = requests[cookie] as Request
    expect(answers.has(cookie), 'a cookie is answered once').toBe(false)
    const data = partial.get(cookie) ?? Buffer.alloc(asked.type === command.read ? asked.length : 0)
    partial.set(cookie, data)
    let error = 0
    if (reply.kind === 'simple') {
      error = reply.error
      reply.payload.copy(data)
    } else if (reply.type === 1) {
      reply.payload.copy(data, Number(reply.payload.readBigUInt64BE(0)) - asked.offset, 8)
    } else if (reply.type === 0x8001) {
      error = reply.payload.readUInt32BE(0)
    }
    if (reply.kind === 'simple' || reply.done) answers.set(cookie, { error, data })
  }
  return answers
}

test('every request is answered once, as the model says, and the disk is the model', async () => {
  const forms = fc.constantFrom<Form>('simple', 'structured', 'extended')
  const names = fc.oneof({ weight: 3, arbitrary: fc.constant('pool/disk') }, fc.constant('pool/frozen'))
  await fc.assert(
    fc.asyncProperty(fc.array(request, { maxLength: 40 }), forms, names, async (requests, form, name) => {
      const client = await connect(form, name)
      const model = Buffer.from(name === 'pool/disk' ? disk.bytes : new Uint8Array(sizeBytes))
      const expected = requests.map((one, i) => {
        send(client, one, BigInt(i), form)
        const error = expectedError(one, form, name === 'pool/frozen')
        const { type, offset, length, byte } = one
        if (error === 0 && type === command.write) model.fill(byte, offset, offset + length)
        if (error === 0 && (type === command.trim || type === command.writeZeroes))
          model.fill(0, offset, offset + length)
        const reads = error === 0 && type === command.read
        return { error, data: reads ? Buffer.from(model.subarray(offset, offset + length)) : undefined }
      })
      const answers = await receive(client, requests)
      expected.forEach(({ error, data }, i) => {
        const answer = answers.get(i) as Answer
        expect({ request: requests[i], error: answer.error }).toEqual({ request: requests[i], error })
        if (data !== undefined) expect(Buffer.compare(answer.data, data)).toBe(0)
      })
      if (name === 'pool/disk') expect(Buffer.compare(disk.bytes, model)).toBe(0)
      client.socket.destroy()
    }),
    { numRuns: 60 },
  )
}, 120_000)
