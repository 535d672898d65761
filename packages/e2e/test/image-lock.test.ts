/** Several gateways export one image: hand-over, the death of one, one that was stopped and comes back, a clean end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RawClient } from '../../gateway-nbd/test/raw-client.ts'
import { shoal, TestCluster } from './support/cluster.ts'

const eshutdown = 108
const eperm = 1
const eio = 5
const image = 'block/disk'

let cluster: TestCluster
const gateways: Gateway[] = []

beforeAll(async () => {
  cluster = await TestCluster.create()
  await cluster.ok('block', 'create', image, '--size', '16M')
}, 120_000)
afterAll(async () => {
  for (const { process } of gateways) process.kill('SIGKILL')
  await cluster.destroy()
}, 60_000)

interface Gateway {
  readonly process: ChildProcess
  readonly port: number
}

async function serve(...options: readonly string[]): Promise<Gateway> {
  const words = [shoal, '--data', cluster.directory, '--format', 'json', 'nbd', 'serve', image, ...options]
  const serving = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const [text] = (await once(serving.stdout, 'data')) as [Buffer]
  const { address } = JSON.parse(text.toString()) as { readonly address: string }
  const gateway = { process: serving, port: Number(address.split(':').at(-1)) }
  gateways.push(gateway)
  return gateway
}

async function attach({ port }: Gateway): Promise<RawClient> {
  const client = await RawClient.open(port)
  await client.start(image)
  return client
}

async function write(client: RawClient, text: string, offset = 0): Promise<number> {
  client.request(1, offset, text.length)
  client.socket.write(text)
  return client.simpleError()
}

async function read(client: RawClient, length: number, offset = 0): Promise<string> {
  client.request(0, offset, length)
  expect(await client.simpleError()).toBe(0)
  return (await client.take(length)).toString()
}

interface Holder {
  readonly client: number
  readonly description: string
}
const holders = (): Promise<readonly Holder[]> => cluster.json('block', 'lock', 'ls', image)

describe('an image that several gateways export', () => {
  test('is written through both, one after the other, and each sees what the other wrote', async () => {
    const [one, other] = [await serve(), await serve()]
    const [first, second] = [await attach(one), await attach(other)]
    for (let round = 0; round < 10; round++) {
      const text = String(round).padStart(8)
      const [writer, reader] = round % 2 === 0 ? [first, second] : [second, first]
      expect(await write(writer, text, round * 8)).toBe(0)
      expect(await read(reader, 8, round * 8)).toBe(text)
    }
    expect(await holders()).toMatchObject([{ description: expect.stringContaining(String(other.process.pid)) }])
    second.socket.destroy()
    await cluster.until('the lock is free', async () => (await holders()).length === 0)
    expect(await cluster.json('osd', 'blocklist', 'ls')).toEqual([])
    first.socket.destroy()
  }, 120_000)

  test('goes on when the gateway that writes is killed: it is fenced, and what it had acknowledged is there', async () => {
    const [one, other] = [await serve(), await serve()]
    const [first, second] = [await attach(one), await attach(other)]
    expect(await write(first, 'acknowledged', 4096)).toBe(0)
    const [{ client }] = (await holders()) as [Holder]
    one.process.kill('SIGKILL')
    const startMs = performance.now()
    expect(await write(second, 'next')).toBe(0)
    console.info(`taken over ${Math.round(performance.now() - startMs)} ms after the kill`)
    expect(await read(second, 12, 4096)).toBe('acknowledged')
    expect(await cluster.json('osd', 'blocklist', 'ls')).toMatchObject([{ session: String(client) }])
    await cluster.ok('osd', 'blocklist', 'clear')
    second.socket.destroy()
  }, 120_000)

  test('is lost to a gateway that was stopped meanwhile, until its clients connect again', async () => {
    const [one, other] = [await serve(), await serve()]
    const [first, second] = [await attach(one), await attach(other)]
    expect(await write(first, 'old')).toBe(0)
    one.process.kill('SIGSTOP')
    first.request(1, 0, 4)
    first.socket.write('late')
    expect(await write(second, 'new!')).toBe(0)
    one.process.kill('SIGCONT')
    expect(await first.simpleError()).toBe(eshutdown)
    expect(await write(first, 'late')).toBe(eshutdown)
    const again = await attach(one)
    expect(await read(again, 4)).toBe('new!')
    expect(await write(again, 'back')).toBe(0)
    expect(await read(second, 4)).toBe('back')
    await cluster.ok('osd', 'blocklist', 'clear')
    for (const client of [first, second, again]) client.socket.destroy()
  }, 120_000)

  test('is kept by an exclusive export, and by who locks it by hand', async () => {
    const one = await serve('--exclusive')
    const first = await attach(one)
    const second = await attach(await serve())
    expect(await write(second, 'x')).toBe(eperm)
    expect(await write(first, 'mine')).toBe(0)
    one.process.kill('SIGTERM')
    await once(one.process, 'exit')
    expect(await write(second, 'free')).toBe(0)
    second.socket.destroy()
    await cluster.until('the lock is free', async () => (await holders()).length === 0)
    await cluster.ok('block', 'lock', 'add', image, 'maintenance')
    const third = await attach(await serve())
    expect(await write(third, 'x')).toBe(eperm)
    await cluster.ok('block', 'lock', 'rm', image, 'maintenance')
    expect(await write(third, 'open')).toBe(0)
    third.socket.destroy()
  }, 120_000)

  test('has each write that was acknowledged, when its client goes right after, and its gateway ends cleanly', async () => {
    const one = await serve()
    const first = await attach(one)
    expect(await write(first, 'the last words', 8192)).toBe(0)
    first.socket.destroy()
    one.process.kill('SIGTERM')
    expect(await once(one.process, 'exit')).toEqual([0, null])
    expect(await holders()).toEqual([])
    expect(await read(await attach(await serve()), 14, 8192)).toBe('the last words')
  }, 120_000)

  test('fails requests when the cluster does not answer in time, and goes on when it does again', async () => {
    const gateway = await serve('--io-timeout', '3')
    const first = await attach(gateway)
    expect(await write(first, 'before')).toBe(0)
    const osds = (await cluster.daemons()).filter(({ kind }) => kind === 'osd')
    for (const { pid } of osds) process.kill(pid, 'SIGSTOP')
    try {
      expect(await write(first, 'during')).toBe(eio)
    } finally {
      for (const { pid } of osds) process.kill(pid, 'SIGCONT')
    }
    await cluster.untilHealthy()
    expect(await write(first, 'after!')).toBe(0)
    expect(await read(first, 6)).toBe('after!')
    // It does not know what became of the write that failed: whoever wants the lock has it fenced.
    const second = await attach(await serve())
    expect(await write(second, 'second')).toBe(0)
    expect(await write(first, 'late!!')).toBe(eshutdown)
    expect(await read(second, 6)).toBe('second')
    await cluster.ok('osd', 'blocklist', 'clear')
    for (const client of [first, second]) client.socket.destroy()
  }, 180_000)

  test('has a snapshot that was taken by another process while it is written, and that does not change any more', async () => {
    const first = await attach(await serve())
    let count = 1
    expect(await write(first, '1'.padStart(8))).toBe(0)
    const stop = new AbortController()
    const writing = (async () => {
      while (!stop.signal.aborted) expect(await write(first, String(++count).padStart(8))).toBe(0)
    })()
    await cluster.ok('block', 'snap', 'create', `${image}@one`)
    const acknowledged = count
    stop.abort()
    await writing
    const at = Number(await readAt(`${image}@one`))
    expect(at).toBeLessThanOrEqual(acknowledged)
    expect(Number(await readAt(`${image}@one`))).toBe(at)
    expect(count).toBeGreaterThan(at)
    first.socket.destroy()
  }, 120_000)
})

async function readAt(name: string): Promise<string> {
  const { address } = await cluster.daemon('nbd.0')
  const client = await RawClient.open(Number(address.split(':').at(-1)))
  await client.start(name)
  const text = await read(client, 8)
  client.socket.destroy()
  return text
}
