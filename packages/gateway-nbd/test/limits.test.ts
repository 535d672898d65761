/** What one client, and all of them together, may take: connections, time, memory; and how the gateway goes. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { address } from '@shoal/base'
import { type NbdLimits, NbdServer } from '@shoal/gateway-nbd'
import { createRealEnv } from '@shoal/runtime'
import { afterEach, describe, expect, test } from 'vitest'
import { MemoryDevice, memoryExports } from './memory-device.ts'
import { command, option, RawClient, reply } from './raw-client.ts'

const run = promisify(execFile)
const mebibyte = 1024 * 1024

let server: NbdServer
let disk: MemoryDevice
let port: number
const clients: RawClient[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy()
  await server.close()
})

function makeServer(limits: Partial<NbdLimits> = {}): NbdServer {
  disk = new MemoryDevice(64 * mebibyte)
  server = new NbdServer(
    createRealEnv({ name: 'nbd-test', logLevel: 'error' }),
    memoryExports({ 'pool/disk': disk, 'pool/other': new MemoryDevice(mebibyte) }),
    { limits: () => limits },
  )
  return server
}

async function serve(limits: Partial<NbdLimits> = {}): Promise<void> {
  port = Number((await makeServer(limits).listen(address('127.0.0.1:0'))).split(':')[1])
}

async function open(): Promise<RawClient> {
  const client = await RawClient.open(port)
  clients.push(client)
  return client
}

describe('too many connections', () => {
  test('are refused with the reason, whatever they ask; places that get free are given again', async () => {
    await serve({ connectionsMax: 1 })
    const first = await open()
    await first.start()
    const second = await open()
    await second.greet()
    for (const code of [option.list, option.structuredReply, option.startTls]) {
      const [refusal] = await second.ask(code)
      expect(refusal).toMatchObject({ type: reply.policy })
      expect(refusal?.data.toString()).toContain('at most 1 connections')
    }
    await second.expectAck(option.abort)
    await second.closed()
    await expect(run('nbdinfo', [`nbd://127.0.0.1:${port}/pool/disk`])).rejects.toThrow(/Operation not supported/)
    first.socket.end()
    await first.closed()
    await expect.poll(() => server.counters.connections).toBe(0)
    await (await open()).start()
  })

  test('to one export are refused by its name, and others are served', async () => {
    await serve({ exportConnectionsMax: 2 })
    for (let i = 0; i < 2; i++) await (await open()).start()
    const third = await open()
    await third.greet()
    const refusal = (await third.askGo('pool/disk')).at(-1)
    expect(refusal?.type).toBe(reply.policy)
    expect(refusal?.data.toString()).toBe("'pool/disk' has 2 connections already")
    // Asking about it is no connection to it.
    expect((await third.askGo('pool/disk', option.info)).at(-1)?.type).toBe(reply.ack)
    await third.go('pool/other')
    const oldest = await open()
    await oldest.greet()
    oldest.option(option.exportName, Buffer.from('pool/disk'))
    await oldest.closed()
    expect(server.counters.refused).toBe(2)
  })
})

describe('time', () => {
  test('a handshake that does not go on is ended, at whatever byte it stops', async () => {
    await serve({ handshakeTimeoutMs: 200 })
    const halves: readonly ((client: RawClient) => Promise<void>)[] = [
      async () => undefined,
      async (client) => void client.socket.write(Buffer.from([0, 0])),
      async (client) => client.greet(),
      async (client) => {
        await client.greet()
        client.socket.write('IHAVE')
      },
      async (client) => {
        await client.greet()
        client.socket.write(Buffer.from('IHAVEOPT\0\0\0\x07\0\0\0\x10pool', 'latin1'))
      },
    ]
    await Promise.all(
      halves.map(async (stopAt) => {
        const client = await open()
        await stopAt(client)
        await client.closed()
      }),
    )
    await expect.poll(() => server.counters.connections).toBe(0)
  })

  test('an idle connection is ended where that is wished for, one that works is not', async () => {
    await serve({ idleTimeoutMs: 300 })
    const [idle, working] = [await open(), await open()]
    await idle.start()
    await working.start()
    while (!idle.socket.closed) {
      working.request(command.read, 0, 4)
      expect(await working.simpleError()).toBe(0)
      await working.take(4)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await expect.poll(() => server.counters.connections).toBe(1)
  })
})

describe('memory', () => {
  test('a client that does not take its answers is not read any more', async () => {
    await serve()
    const client = await open()
    await client.start()
    client.socket.pause()
    const reads = 2000
    for (let i = 0; i < reads; i++) client.request(command.read, 0, mebibyte, 0, BigInt(i))
    // Up to what may be under way and what the sockets hold; the rest was not even begun.
    let before = -1
    await expect
      .poll(
        () => {
          const same = disk.reads === before
          before = disk.reads
          return same && disk.reads > 0
        },
        { interval: 300, timeout: 20_000 },
      )
      .toBe(true)
    expect(disk.reads).toBeLessThan(200)
    // Nothing was lost by it.
    client.socket.resume()
    for (let i = 0; i < 300; i++) {
      expect(await client.simpleError(BigInt(i))).toBe(0)
      await client.take(mebibyte)
    }
  }, 60_000)

  test('all clients together have no more under way than agreed, each of them at least one request', async () => {
    await serve({ inflightBytesMax: 2 * mebibyte })
    const held = disk.hold()
    for (let i = 0; i < 4; i++) {
      const client = await open()
      await client.start()
      for (let j = 0; j < 8; j++) client.request(command.read, 0, mebibyte, 0, BigInt(j))
    }
    await held.begun
    // A look at each end of the loop: nothing more comes, though all of it was sent.
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 5))
    expect(disk.reads).toBeGreaterThanOrEqual(4)
    expect(disk.reads).toBeLessThanOrEqual(6)
    held.release()
    await Promise.all(
      clients.map(async (client) => {
        for (let j = 0; j < 8; j++) {
          expect(await client.simpleError(BigInt(j))).toBe(0)
          await client.take(mebibyte)
        }
      }),
    )
  })

  test('options are bounded: some are read and dropped, 16 MiB of one are not', async () => {
    await serve()
    const client = await open()
    await client.greet()
    for (const code of [option.go, option.setMetaContext, 4711]) {
      expect((await client.ask(code, Buffer.alloc(mebibyte))).at(-1)?.type).toBe(reply.tooBig)
    }
    await client.go()
    const bomb = await open()
    await bomb.greet()
    bomb.option(option.go, Buffer.alloc(16 * mebibyte))
    await bomb.closed()
    const many = await open()
    await many.greet()
    many.socket.on('error', () => undefined)
    for (let i = 0; i < 1100; i++) many.option(4711)
    await many.closed()
  })
})

describe('the end of the gateway', () => {
  test('what is under way is answered, then the connection ends', async () => {
    await serve()
    const held = disk.hold()
    const client = await open()
    await client.start()
    client.request(command.write, 0, 4)
    client.socket.write(Buffer.from('last'))
    await held.begun
    const closing = server.close()
    // Begun too late: another gateway will be asked.
    client.request(command.write, 4096, 4)
    client.socket.write(Buffer.from('late'))
    held.release()
    expect(await client.simpleError()).toBe(0)
    await client.closed()
    await closing
    expect(Buffer.from(disk.bytes.subarray(0, 4)).toString()).toBe('last')
    expect(disk.allocated[1]).toBe(0)
  })

  test('a device that does not answer holds it no longer than agreed', async () => {
    await serve({ drainTimeoutMs: 100 })
    const held = disk.hold()
    const client = await open()
    await client.start()
    client.request(command.read, 0, 4)
    await held.begun
    await server.close()
    await client.closed()
    held.release()
  })
})

describe('a socket in the file system', () => {
  test('serves beside TCP, replaces a dead one, and neither a live one nor a file', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'shoal-nbd-'))
    const path = join(directory, 'nbd.sock')
    try {
      // What a process that was killed leaves behind.
      const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
      await run(process.execPath, ['-e', script]).catch(() => undefined)
      expect(await makeServer().listen(address(`unix:${path}`))).toBe(`unix:${path}`)
      const { stdout } = await run('nbdinfo', ['--size', `nbd+unix:///pool/disk?socket=${path}`])
      expect(Number(stdout)).toBe(64 * mebibyte)
      const first = server
      await expect(makeServer().listen(address(`unix:${path}`))).rejects.toMatchObject({ code: 'EBUSY' })
      await first.close()
      writeFileSync(path, 'a file')
      await expect(makeServer().listen(address(`unix:${path}`))).rejects.toMatchObject({ code: 'EEXIST' })
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  test('nobody listens where nobody can', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port: takenPort } = taken.address() as { readonly port: number }
    await expect(makeServer().listen(address(`127.0.0.1:${takenPort}`))).rejects.toMatchObject({ code: 'EBUSY' })
    await new Promise((resolve) => taken.close(resolve))
  })
})
