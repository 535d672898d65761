/** The server against real clients (libnbd, qemu) and against hand-made bytes, over TCP, with a disk in memory. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { address, ClusterError } from '@shoal/base'
import { NbdServer } from '@shoal/gateway-nbd'
import { createRealEnv } from '@shoal/runtime'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MemoryDevice, memoryExports } from './memory-device.ts'
import { RawClient } from './raw-client.ts'

const run = promisify(execFile)
const mebibyte = 1024 * 1024

let server: NbdServer
let disk: MemoryDevice
let port: number
const url = (name = 'pool/disk'): string => `nbd://127.0.0.1:${port}/${name}`

beforeEach(async () => {
  disk = new MemoryDevice(8 * mebibyte)
  server = new NbdServer(
    createRealEnv({ name: 'nbd-test', logLevel: 'error' }),
    memoryExports({ 'pool/disk': disk, 'pool/frozen': new MemoryDevice(mebibyte, true) }),
  )
  port = Number((await server.listen(address('127.0.0.1:0'))).split(':')[1])
})
afterEach(() => server.close())

describe('real clients', () => {
  test('nbdinfo lists the exports and what they can do', async () => {
    const { stdout } = await run('nbdinfo', ['--json', '--list', `nbd://127.0.0.1:${port}`])
    const info = JSON.parse(stdout) as { exports: Record<string, unknown>[] }
    expect(info.exports.map((one) => one['export-name'])).toEqual(['pool/disk', 'pool/frozen'])
    expect(info.exports[0]).toMatchObject({
      'export-size': 8 * mebibyte,
      contexts: ['base:allocation'],
      can_flush: true,
      can_fua: true,
      can_multi_conn: true,
      can_trim: true,
      can_zero: true,
      can_df: true,
      can_fast_zero: true,
      can_cache: true,
      is_read_only: false,
      block_size_preferred: 4096,
    })
    expect(info.exports[1]).toMatchObject({ is_read_only: true, can_trim: false })
  })

  test('qemu-io writes, zeroes, discards and reads patterns', async () => {
    const commands = [
      'write -P 7 4k 1M',
      'write -f -P 9 100k 3k',
      'write -z 200k 64k',
      'discard 512k 256k',
      'flush',
      'read -P 7 4k 96k',
      'read -P 9 100k 3k',
      'read -P 0 200k 64k',
      'read -P 0 512k 256k',
    ]
    const { stdout } = await run('qemu-io', ['-f', 'raw', ...commands.flatMap((one) => ['-c', one]), url()])
    expect(stdout).not.toContain('verification failed')
    expect(disk.bytes[100 * 1024]).toBe(9)
    expect(disk.flushes).toBeGreaterThan(0)
  })

  test('nbdcopy over four connections brings an image in and out unchanged, holes included', async () => {
    const source = new MemoryDevice(8 * mebibyte)
    for (let at = 0; at < source.sizeBytes; at += 700_001)
      await source.write(
        at,
        new Uint8Array(9_000).map((_, i) => (i * 31 + at) & 255),
      )
    const other = new NbdServer(createRealEnv({ name: 'nbd-source', logLevel: 'error' }), memoryExports({ '': source }))
    const otherPort = (await other.listen(address('127.0.0.1:0'))).split(':')[1]
    try {
      await run('nbdcopy', ['--connections=4', `nbd://127.0.0.1:${otherPort}`, url()])
      expect(Buffer.compare(disk.bytes, source.bytes)).toBe(0)
      expect(disk.allocated).toEqual(source.allocated)
    } finally {
      await other.close()
    }
  })

  test('qemu-img sees the map of allocation', async () => {
    await disk.write(mebibyte, new Uint8Array(mebibyte).fill(5))
    const { stdout } = await run('qemu-img', ['map', '--output=json', '-f', 'raw', url()])
    const extents = JSON.parse(stdout) as { start: number; length: number; data: boolean }[]
    expect(extents.map(({ start, length, data }) => [start, length, data])).toEqual([
      [0, mebibyte, false],
      [mebibyte, mebibyte, true],
      [2 * mebibyte, 6 * mebibyte, false],
    ])
  })

  test('an unknown export is refused by name', async () => {
    await expect(run('nbdinfo', [url('pool/nothing')])).rejects.toThrow(
      /No such file or directory for export: pool\/nothing/,
    )
  })

  test('a failing device is an I/O error at the client, and the connection goes on', async () => {
    disk.failure = new ClusterError('ETIMEDOUT', 'no answer')
    await expect(run('qemu-io', ['-f', 'raw', '-c', 'read 0 4k', url()])).rejects.toThrow()
    disk.failure = undefined
    const { stdout } = await run('qemu-io', ['-f', 'raw', '-c', 'read -P 0 0 4k', url()])
    expect(stdout).toContain('read 4096/4096')
  })
})

describe('bad input', () => {
  test.each([
    ['noise instead of flags', (client: RawClient) => client.socket.write(Buffer.alloc(64, 0xa5))],
    ['an option with bad magic', (client: RawClient) => client.socket.write(Buffer.alloc(20))],
    [
      'an option of a gigabyte',
      (client: RawClient) => {
        const header = Buffer.from('\0\0\0\x03IHAVEOPT\0\0\0\x07\x40\0\0\0', 'latin1')
        client.socket.write(header)
      },
    ],
  ])('%s ends the connection', async (_what, misbehave) => {
    const client = await RawClient.open(port)
    await client.take(18)
    misbehave(client)
    await client.closed()
  })

  test('malformed options are answered as such, and the handshake goes on', async () => {
    const client = await RawClient.open(port)
    await client.take(18)
    client.socket.write(Buffer.from([0, 0, 0, 3]))
    const replyType = async (): Promise<number> => {
      const header = await client.take(20)
      await client.take(header.readUInt32BE(16))
      return header.readUInt32BE(12)
    }
    client.option(7, Buffer.from([0, 0]))
    expect(await replyType()).toBe(0x80000003)
    client.option(7, Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0]))
    expect(await replyType()).toBe(0x80000003)
    client.option(10, Buffer.alloc(8))
    expect(await replyType()).toBe(0x80000003)
    client.option(5)
    expect(await replyType()).toBe(0x80000002)
    client.option(4242)
    expect(await replyType()).toBe(0x80000001)
    client.option(2)
    expect(await replyType()).toBe(1)
    await client.closed()
  })

  test('requests outside the device, or that make no sense, fail with their code and change nothing', async () => {
    const client = await RawClient.open(port)
    await client.start()
    client.request(0, 8 * mebibyte - 1, 2)
    expect(await client.simpleError()).toBe(22)
    client.request(0, 2 ** 53, 512)
    expect(await client.simpleError()).toBe(22)
    client.request(4, 8 * mebibyte, 1)
    expect(await client.simpleError()).toBe(22)
    client.request(99, 0, 0)
    expect(await client.simpleError()).toBe(22)
    client.request(7, 0, 4096)
    expect(await client.simpleError()).toBe(22)
    client.request(0, 0, 64 * mebibyte)
    expect(await client.simpleError()).toBe(22)
    // FAST_ZERO with NO_HOLE: the client should rather write its zeros itself. FAST_ZERO alone punches a hole.
    client.request(6, 0, 4096, 16 | 2)
    expect(await client.simpleError()).toBe(95)
    client.request(6, 0, 4096, 16)
    expect(await client.simpleError()).toBe(0)
    client.request(1, 8 * mebibyte - 1, 2)
    client.socket.write(Buffer.from([1, 2]))
    expect(await client.simpleError()).toBe(28)
    client.request(0, 0, 4)
    expect(await client.simpleError()).toBe(0)
    expect(await client.take(4)).toEqual(Buffer.alloc(4))
    client.socket.destroy()
  })

  test('writing to a read-only export is refused', async () => {
    const client = await RawClient.open(port)
    await client.start('pool/frozen')
    client.request(1, 0, 4)
    client.socket.write(Buffer.from([1, 2, 3, 4]))
    expect(await client.simpleError()).toBe(1)
    client.socket.destroy()
  })

  test('a write that claims a gigabyte ends the connection', async () => {
    const client = await RawClient.open(port)
    await client.start()
    client.request(1, 0, 1024 * mebibyte)
    await client.closed()
  })

  test('a client that leaves in the middle of a write changes nothing', async () => {
    const client = await RawClient.open(port)
    await client.start()
    client.request(1, 0, 4096)
    client.socket.write(Buffer.alloc(1000, 1))
    client.socket.end()
    await client.closed()
    expect(disk.allocated[0]).toBe(0)
  })
})
