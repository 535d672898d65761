/** Images as exports while they are resized, removed and made again under connections that stay. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { address, Prng } from '@shoal/base'
import { ImageSession, ImageStore } from '@shoal/block'
import { ImageExports, type ImageSource, NbdServer } from '@shoal/gateway-nbd'
import { createRealEnv } from '@shoal/runtime'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type MemoryClient, MemoryCluster } from '../../block/test/memory-cluster.ts'
import { SteppedTime } from '../../block/test/stepped-time.ts'
import { RawClient, reply } from './raw-client.ts'

const run = promisify(execFile)

const mebibyte = 1024 * 1024
const leaseIsOverMs = 10_000
const writeCommand = 1
const readCommand = 0
const trimCommand = 4
const enospc = 28
const einval = 22
const eperm = 1

let time: SteppedTime
/** Of an administrator: another process than the gateway's. */
let store: ImageStore
let source: ImageSource
let server: NbdServer
let port: number

beforeEach(async () => {
  const env = createRealEnv({ name: 'nbd-test', logLevel: 'error' })
  const cluster = new MemoryCluster(env.timers)
  const [administrator, gateway] = [cluster.client(), cluster.client()]
  time = new SteppedTime()
  const storeOf = (io: MemoryClient, seed: number): ImageStore =>
    new ImageStore({ clock: time, timers: time, random: new Prng(seed) }, io)
  store = storeOf(administrator, 1)
  await store.create('disk', 8 * mebibyte)
  const images = storeOf(gateway, 2)
  source = {
    store: async () => images,
    open: async (_pool, name) =>
      ImageSession.open(await images.open(name), {
        env: { ...gateway.env, clock: time },
        io: gateway,
        fencer: gateway,
      }),
  }
  server = new NbdServer(env, new ImageExports({ pools: () => ['pool'], source }))
  port = Number((await server.listen(address('127.0.0.1:0'))).split(':')[1])
})
afterEach(() => server.close())

async function attach(): Promise<{ readonly client: RawClient; readonly sizeBytes: number }> {
  const client = await RawClient.open(port)
  return { client, sizeBytes: await client.start() }
}

/** Time goes by while somebody waits for a lease to be over. */
function letTimePass(): void {
  time.onWait = async (waitMs) => {
    time.nowMs += waitMs
  }
}

async function write(client: RawClient, offset: number, bytes: Buffer): Promise<number> {
  client.request(writeCommand, offset, bytes.length)
  client.socket.write(bytes)
  return client.simpleError()
}

async function read(client: RawClient, offset: number, length: number): Promise<Buffer> {
  client.request(readCommand, offset, length)
  expect(await client.simpleError()).toBe(0)
  return client.take(length)
}

test('a new connection sees the new size while an old one goes on', async () => {
  const old = await attach()
  expect(old.sizeBytes).toBe(8 * mebibyte)
  await store.resize('disk', 32 * mebibyte)
  const fresh = await attach()
  expect(fresh.sizeBytes).toBe(32 * mebibyte)
  expect(await write(fresh.client, 31 * mebibyte, Buffer.from('far'))).toBe(0)
  expect(await write(old.client, 0, Buffer.from('near'))).toBe(0)
  expect((await read(fresh.client, 0, 4)).toString()).toBe('near')
  // Clients that were told of the new size by other means may use it.
  expect((await read(old.client, 31 * mebibyte, 3)).toString()).toBe('far')
})

test('beyond the end of an image that shrank, old connections get ENOSPC and EINVAL, and nothing is written', async () => {
  const { client } = await attach()
  expect(await write(client, 7 * mebibyte, Buffer.from('doomed'))).toBe(0)
  time.onWait = async (waitMs) => {
    // Removal has not begun. The gateway has not been told anything: it asks by itself.
    time.nowMs += waitMs
    expect(await write(client, 7 * mebibyte, Buffer.from('late'))).toBe(enospc)
  }
  await store.resize('disk', 4 * mebibyte + 10)
  expect(await write(client, 4 * mebibyte + 8, Buffer.from('over'))).toBe(enospc)
  client.request(trimCommand, 7 * mebibyte, 4096)
  expect(await client.simpleError()).toBe(einval)
  client.request(readCommand, 7 * mebibyte, 4)
  expect(await client.simpleError()).toBe(einval)
  expect(await write(client, 4 * mebibyte, Buffer.from('inside'))).toBe(0)
  // Grown again, the range is empty.
  await store.resize('disk', 8 * mebibyte)
  const fresh = await attach()
  expect(fresh.sizeBytes).toBe(8 * mebibyte)
  expect((await read(fresh.client, 4 * mebibyte, 6)).toString()).toBe('inside')
  expect(await read(fresh.client, 7 * mebibyte, 6)).toEqual(Buffer.alloc(6))
})

test('a snapshot is an export of its own, read-only, whatever is written to the image', async () => {
  letTimePass()
  const { client } = await attach()
  expect(await write(client, 0, Buffer.from('before'))).toBe(0)
  await store.snapshots.create('disk', 'monday')
  expect(await write(client, 0, Buffer.from('AFTER!'))).toBe(0)
  const old = await RawClient.open(port)
  await old.start('pool/disk@monday')
  expect((await read(old, 0, 6)).toString()).toBe('before')
  expect(await write(old, 0, Buffer.from('no'))).toBe(eperm)
  expect((await read(client, 0, 6)).toString()).toBe('AFTER!')
  // Gone and made again under the name it is another one, as an image would be.
  await store.snapshots.remove('disk', 'monday')
  await store.snapshots.create('disk', 'monday')
  const fresh = await RawClient.open(port)
  await fresh.start('pool/disk@monday')
  expect((await read(fresh, 0, 6)).toString()).toBe('AFTER!')
  const none = await RawClient.open(port)
  await none.greet()
  expect((await none.askGo('pool/disk@tuesday')).at(-1)?.type).toBe(reply.unknown)
})

test('what changed since a snapshot is told of the image and of later snapshots, by real clients too', async () => {
  letTimePass()
  const { client } = await attach()
  expect(await write(client, 4 * mebibyte, Buffer.alloc(65_536, 1))).toBe(0)
  await store.snapshots.create('disk', 'monday')
  expect(await write(client, 4 * mebibyte + 8192, Buffer.alloc(4096, 2))).toBe(0)
  await store.snapshots.create('disk', 'tuesday')
  expect(await write(client, 0, Buffer.alloc(4096, 3))).toBe(0)
  const dirty = async (name: string, since: string): Promise<readonly (readonly [number, number])[]> => {
    const url = `nbd://127.0.0.1:${port}/pool/${name}`
    const { stdout } = await run('nbdinfo', ['--json', `--map=qemu:dirty-bitmap:${since}`, url])
    const extents = JSON.parse(stdout) as { offset: number; length: number; type: number }[]
    return extents.filter(({ type }) => type === 1).map(({ offset, length }) => [offset, length])
  }
  expect(await dirty('disk@tuesday', 'monday')).toEqual([[4 * mebibyte + 8192, 4096]])
  expect(await dirty('disk', 'tuesday')).toEqual([[0, 4096]])
  expect(await dirty('disk', 'monday')).toEqual([
    [0, 4096],
    [4 * mebibyte + 8192, 4096],
  ])
  const { stdout } = await run('nbdinfo', ['--json', `nbd://127.0.0.1:${port}/pool/disk@tuesday`])
  const { exports } = JSON.parse(stdout) as { exports: { contexts: string[]; is_read_only: boolean }[] }
  expect(exports[0]).toMatchObject({ contexts: ['base:allocation', 'qemu:dirty-bitmap:monday'], is_read_only: true })
})

test('a gateway told to be read-only lets nobody write', async () => {
  const exports = new ImageExports({ pools: () => ['pool'], source, readOnly: true })
  const strict = new NbdServer(createRealEnv({ name: 'nbd-test', logLevel: 'error' }), exports)
  const client = await RawClient.open(Number((await strict.listen(address('127.0.0.1:0'))).split(':')[1]))
  await client.greet()
  expect((await client.go('pool/disk')).flags & 2).toBe(2)
  expect(await write(client, 0, Buffer.from('no'))).toBe(eperm)
  client.request(trimCommand, 0, 4096)
  expect(await client.simpleError()).toBe(eperm)
  await strict.close()
})

test('an image that was removed and made again is another one', async () => {
  const old = await attach()
  expect(await write(old.client, 0, Buffer.from('old'))).toBe(0)
  await store.remove('disk')
  await store.create('disk', 2 * mebibyte)
  const fresh = await attach()
  expect(fresh.sizeBytes).toBe(2 * mebibyte)
  expect(await read(fresh.client, 0, 3)).toEqual(Buffer.alloc(3))
  time.nowMs += leaseIsOverMs
  expect(await write(old.client, 0, Buffer.from('ghost'))).not.toBe(0)
  expect(await read(fresh.client, 0, 5)).toEqual(Buffer.alloc(5))
  // Another connection to the new one shares it.
  expect((await attach()).sizeBytes).toBe(2 * mebibyte)
})

test('an image that is lost each time it was opened is given up, and is served once it stays', async () => {
  let opened = 0
  let lost = true
  const restless: ImageSource = {
    store: (pool) => source.store(pool),
    open: async (pool, name) => {
      opened++
      const session = await source.open(pool, name)
      if (lost) Object.defineProperty(session, 'isEnded', { value: true })
      return session
    },
  }
  const exports = new ImageExports({ pools: () => ['pool'], source: restless })
  await expect(exports.open('pool/disk')).rejects.toMatchObject({
    code: 'EBUSY',
    hint: expect.stringContaining('shoal block lock ls pool/disk'),
  })
  expect(opened).toBe(5)
  lost = false
  expect((await exports.open('pool/disk'))?.device.sizeBytes).toBe(8 * mebibyte)
  await exports.close()
})
