/** Images as exports while they are resized, removed and made again under connections that stay. */
import { address, Prng } from '@shoal/base'
import { ImageSession, ImageStore } from '@shoal/block'
import { ImageExports, type ImageSource, NbdServer } from '@shoal/gateway-nbd'
import { createRealEnv } from '@shoal/runtime'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type MemoryClient, MemoryCluster } from '../../block/test/memory-cluster.ts'
import { SteppedTime } from '../../block/test/stepped-time.ts'
import { RawClient } from './raw-client.ts'

const mebibyte = 1024 * 1024
const leaseIsOverMs = 10_000
const writeCommand = 1
const readCommand = 0
const trimCommand = 4
const enospc = 28
const einval = 22

let time: SteppedTime
/** Of an administrator: another process than the gateway's. */
let store: ImageStore
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
  const source: ImageSource = {
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
