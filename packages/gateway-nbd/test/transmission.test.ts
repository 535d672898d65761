/** Requests and replies on a raw socket, in each of the three forms: simple, structured, extended. */
import { address } from '@shoal/base'
import { NbdServer } from '@shoal/gateway-nbd'
import { createRealEnv } from '@shoal/runtime'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MemoryDevice, memoryExports } from './memory-device.ts'
import { command, errno, flag, option, RawClient, reply } from './raw-client.ts'

const mebibyte = 1024 * 1024
const sizeBytes = 8 * mebibyte

let server: NbdServer
let disk: MemoryDevice
let client: RawClient

beforeEach(async () => {
  disk = new MemoryDevice(sizeBytes)
  server = new NbdServer(
    createRealEnv({ name: 'nbd-test', logLevel: 'error' }),
    memoryExports({ 'pool/disk': disk, 'pool/frozen': new MemoryDevice(mebibyte, true) }),
  )
  const port = Number((await server.listen(address('127.0.0.1:0'))).split(':')[1])
  client = await RawClient.open(port)
})
afterEach(async () => {
  client.socket.destroy()
  await server.close()
})

async function startStructured(name = 'pool/disk', contexts: readonly string[] = []): Promise<Map<string, number>> {
  await client.greet()
  await client.expectAck(option.structuredReply)
  const ids = await client.contexts(option.setMetaContext, name, contexts)
  await client.go(name)
  return ids
}

/** Lengths and states. */
function compactExtents(payload: Buffer): readonly (readonly [number, number])[] {
  return Array.from({ length: (payload.length - 4) / 8 }, (_, i) => [
    payload.readUInt32BE(4 + 8 * i),
    payload.readUInt32BE(8 + 8 * i),
  ])
}

function wideExtents(payload: Buffer): readonly (readonly [number, number])[] {
  expect(payload.readUInt32BE(4)).toBe((payload.length - 8) / 16)
  return Array.from({ length: (payload.length - 8) / 16 }, (_, i) => [
    Number(payload.readBigUInt64BE(8 + 16 * i)),
    Number(payload.readBigUInt64BE(16 + 16 * i)),
  ])
}

describe('structured replies', () => {
  test('a sparse read answers data and holes in order; DF gets one chunk with the zeros in it', async () => {
    await disk.write(4096, new Uint8Array(4096).fill(7))
    await startStructured()
    client.request(command.read, 0, 12288)
    const chunks = await client.chunks()
    expect(chunks.map(({ type }) => type)).toEqual([2, 1, 2])
    expect(chunks[0]?.payload.readUInt32BE(8)).toBe(4096)
    expect(chunks[1]?.payload.readBigUInt64BE(0)).toBe(4096n)
    expect(chunks[1]?.payload.subarray(8).equals(Buffer.alloc(4096, 7))).toBe(true)
    client.request(command.read, 0, 12288, flag.df)
    const [whole, ...others] = await client.chunks()
    expect(others).toEqual([])
    expect(whole?.type).toBe(1)
    expect(whole?.payload.length).toBe(8 + 12288)
  })

  test('errors of a read and of a status come in chunks, those of a write may be simple', async () => {
    await startStructured()
    client.request(command.read, sizeBytes, 1)
    expect(await client.chunkedError()).toBe(errno.EINVAL)
    client.request(command.blockStatus, 0, 4096)
    expect(await client.chunkedError()).toBe(errno.EINVAL)
    client.request(command.write, sizeBytes, 2)
    client.socket.write(Buffer.from([1, 2]))
    expect(await client.simpleError()).toBe(errno.ENOSPC)
  })

  test('DF is refused to whom it was not offered', async () => {
    await client.greet()
    expect((await client.go()).flags & 128).toBe(0)
    client.request(command.read, 0, 4096, flag.df)
    expect(await client.simpleError()).toBe(errno.EINVAL)
    client.request(command.read, 0, 1)
    expect(await client.simpleError()).toBe(0)
  })

  test('FAST_ZERO is refused to whom it was not offered, and the connection goes on', async () => {
    await client.start('pool/frozen')
    client.request(command.writeZeroes, 0, 4096, flag.fastZero)
    expect(await client.simpleError()).toBe(errno.EINVAL)
    client.request(command.writeZeroes, 0, 4096)
    expect(await client.simpleError()).toBe(errno.EPERM)
    client.request(command.read, 0, 1)
    expect(await client.simpleError()).toBe(0)
  })
})

describe('metadata contexts', () => {
  test('the changes since a snapshot are a context of their own, next to the allocation', async () => {
    await disk.write(0, new Uint8Array(8192).fill(1))
    disk.takeSnapshot('monday')
    await disk.write(4096, new Uint8Array(4096).fill(2))
    const ids = await startStructured('pool/disk', ['base:allocation', 'qemu:dirty-bitmap:monday', 'qemu:nonsense'])
    expect([...ids.keys()]).toEqual(['base:allocation', 'qemu:dirty-bitmap:monday'])
    client.request(command.blockStatus, 0, 16384)
    const chunks = await client.chunks()
    expect(chunks.map(({ payload }) => payload.readUInt32BE(0))).toEqual([...ids.values()])
    expect(chunks.map(({ payload }) => compactExtents(payload))).toEqual([
      [
        [8192, 0],
        [8192, 3],
      ],
      [
        [4096, 0],
        [4096, 1],
        [8192, 0],
      ],
    ])
    client.request(command.blockStatus, 0, 16384, flag.reqOne)
    expect((await client.chunks()).map(({ payload }) => compactExtents(payload))).toEqual([[[8192, 0]], [[4096, 0]]])
  })

  test('wildcards list and do not select; a selection holds for its export only', async () => {
    disk.takeSnapshot('monday')
    disk.takeSnapshot('tuesday')
    await client.greet()
    await client.expectAck(option.structuredReply)
    const listed = async (...queries: readonly string[]): Promise<readonly string[]> => [
      ...(await client.contexts(option.listMetaContext, 'pool/disk', queries)).keys(),
    ]
    const all = ['base:allocation', 'qemu:dirty-bitmap:monday', 'qemu:dirty-bitmap:tuesday']
    expect(await listed()).toEqual(all)
    expect(await listed('base:')).toEqual(all.slice(0, 1))
    expect(await listed('qemu:')).toEqual(all.slice(1))
    expect(await listed('qemu:dirty-bitmap:')).toEqual(all.slice(1))
    expect(await listed('qemu:dirty-bitmap:tuesday', 'other:thing')).toEqual(all.slice(2))
    expect((await client.contexts(option.setMetaContext, 'pool/disk', ['base:', 'qemu:'])).size).toBe(0)
    expect((await client.contexts(option.setMetaContext, 'pool/frozen', ['base:allocation'])).size).toBe(1)
    await client.go()
    client.request(command.blockStatus, 0, 4096)
    expect(await client.chunkedError()).toBe(errno.EINVAL)
  })

  test('a selection that fails forgets the one before', async () => {
    await client.greet()
    await client.expectAck(option.structuredReply)
    expect((await client.contexts(option.setMetaContext, 'pool/disk', ['base:allocation'])).size).toBe(1)
    expect((await client.ask(option.setMetaContext, Buffer.from([1]))).at(-1)?.type).toBe(reply.invalid)
    await client.go()
    client.request(command.blockStatus, 0, 4096)
    expect(await client.chunkedError()).toBe(errno.EINVAL)
  })

  test('those of an unknown export are unknown', async () => {
    await client.greet()
    await client.expectAck(option.structuredReply)
    const name = Buffer.from('\0\0\0\x05ghost\0\0\0\0', 'latin1')
    expect((await client.ask(option.setMetaContext, name)).at(-1)?.type).toBe(reply.unknown)
  })
})

describe('extended headers', () => {
  test('every reply is extended and repeats the offset of its request', async () => {
    await client.startExtended()
    client.extended(command.write, 8192, 4, flag.payloadLength, Buffer.from('eels'))
    expect(await client.chunks()).toEqual([
      { type: 0, done: true, cookie: 77n, offset: 8192n, payload: Buffer.alloc(0) },
    ])
    client.extended(command.read, 8192, 4)
    const [data] = await client.chunks()
    expect(data).toMatchObject({ type: 1, offset: 8192n })
    expect(data?.payload.subarray(8).toString()).toBe('eels')
    const farthest = 2n ** 64n - 1n
    client.extended(command.read, farthest, 1)
    const [fault] = await client.chunks()
    expect(fault).toMatchObject({ type: 0x8001, offset: farthest })
    expect(fault?.payload.readUInt32BE(0)).toBe(errno.EINVAL)
    client.extended(command.flush, 0, 0)
    expect(await client.chunkedError()).toBe(0)
    client.extended(command.write, sizeBytes - 1, 2, flag.payloadLength, Buffer.from('xx'))
    expect(await client.chunkedError()).toBe(errno.ENOSPC)
  })

  test('lengths beyond 32 bits are lengths, not their remainders', async () => {
    await client.startExtended()
    client.extended(command.trim, 0, 2n ** 32n + 4096n)
    expect(await client.chunkedError()).toBe(errno.EINVAL)
    client.extended(command.read, 0, 2n ** 32n + 4096n)
    expect(await client.chunkedError()).toBe(errno.EINVAL)
    client.extended(command.writeZeroes, 0, sizeBytes)
    expect(await client.chunkedError()).toBe(0)
  })

  test('a status has wide extents, and a payload picks its contexts', async () => {
    await disk.write(0, new Uint8Array(4096).fill(1))
    disk.takeSnapshot('monday')
    await client.greet()
    await client.expectAck(option.extendedHeaders)
    const ids = await client.contexts(option.setMetaContext, 'pool/disk', [
      'base:allocation',
      'qemu:dirty-bitmap:monday',
    ])
    const { flags } = await client.go()
    expect(flags & 4096).toBe(4096)
    client.extended(command.blockStatus, 0, 8192)
    const both = await client.chunks()
    expect(both.map(({ type }) => type)).toEqual([6, 6])
    expect(wideExtents((both[0] as { payload: Buffer }).payload)).toEqual([
      [4096, 0],
      [4096, 3],
    ])
    const query = (...contextIds: readonly number[]): Buffer => {
      const payload = Buffer.alloc(8 + 4 * contextIds.length)
      payload.writeBigUInt64BE(8192n)
      contextIds.forEach((id, i) => payload.writeUInt32BE(id, 8 + 4 * i))
      return payload
    }
    const dirtyId = ids.get('qemu:dirty-bitmap:monday') as number
    const send = (payload: Buffer): void =>
      client.extended(command.blockStatus, 0, payload.length, flag.payloadLength, payload)
    send(query(dirtyId))
    const picked = await client.chunks()
    expect(picked.map(({ payload }) => [payload.readUInt32BE(0), wideExtents(payload)])).toEqual([
      [dirtyId, [[8192, 0]]],
    ])
    for (const bad of [query(), query(4711), query(dirtyId, dirtyId), Buffer.alloc(9)]) {
      send(bad)
      expect(await client.chunkedError()).toBe(errno.EINVAL)
    }
  })

  test('a payload where none belongs is refused and skipped', async () => {
    await client.startExtended()
    client.extended(command.trim, 0, 4, flag.payloadLength, Buffer.from('junk'))
    expect(await client.chunkedError()).toBe(errno.EINVAL)
    client.extended(command.cache, 0, 4096)
    expect(await client.chunkedError()).toBe(0)
  })

  test('they exclude structured replies afterwards, and EXPORT_NAME', async () => {
    await client.greet()
    await client.expectAck(option.extendedHeaders)
    expect((await client.ask(option.structuredReply)).at(-1)?.type).toBe(reply.extendedHeadersRequired)
    client.option(option.exportName, Buffer.from('pool/disk'))
    await client.closed()
  })
})

describe('what is refused', () => {
  test('the payload of a refused write is skipped, also one that nobody would hold', async () => {
    await client.start()
    client.request(command.write, sizeBytes, 4096)
    client.socket.write(Buffer.alloc(4096, 1))
    expect(await client.simpleError()).toBe(errno.ENOSPC)
    client.request(command.write, 0, 4096, flag.reqOne)
    client.socket.write(Buffer.alloc(4096, 1))
    expect(await client.simpleError()).toBe(errno.EINVAL)
    client.request(command.write, 0, 33 * mebibyte)
    for (let i = 0; i < 33; i++) client.socket.write(Buffer.alloc(mebibyte, 1))
    expect(await client.simpleError()).toBe(errno.EINVAL)
    client.request(command.read, 0, 4)
    expect(await client.simpleError()).toBe(0)
    expect(await client.take(4)).toEqual(Buffer.alloc(4))
    expect(disk.allocated.includes(1)).toBe(false)
  })
})

describe('the end', () => {
  test('DISC is obeyed after the requests before it, which are answered', async () => {
    const held = disk.hold()
    await client.start()
    client.request(command.write, 0, 4)
    client.socket.write(Buffer.from('last'))
    client.request(command.disconnect, 0, 0)
    await held.begun
    held.release()
    expect(await client.simpleError()).toBe(0)
    await client.closed()
    expect(Buffer.from(disk.bytes.subarray(0, 4)).toString()).toBe('last')
  })

  test('a write that was sent in full is done, though its client went at once; half a write is not', async () => {
    await client.start()
    client.request(command.write, 0, 4096)
    client.socket.write(Buffer.alloc(4096, 5))
    client.request(command.write, 8192, 4096)
    client.socket.write(Buffer.alloc(4095, 6))
    client.socket.end()
    await client.closed()
    await server.close()
    expect(disk.bytes[4095]).toBe(5)
    expect(disk.allocated[2]).toBe(0)
  })

  test('a client that is reset with reads outstanding leaves nothing behind', async () => {
    const held = disk.hold()
    await client.start()
    for (let i = 0; i < 100; i++) client.request(command.read, i * 4096, 4096)
    await held.begun
    client.socket.resetAndDestroy()
    await client.closed()
    held.release()
    await expect.poll(() => server.counters.connections).toBe(0)
    await expect.poll(() => server.requestsInFlight().length).toBe(0)
    expect(server.counters.summary()['exports']).toEqual({})
  })
})
