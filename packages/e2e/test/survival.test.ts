/** What must be survived, on real processes: each failure of the list, and afterwards every acknowledged byte is there. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { open, rm, stat, truncate } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestCluster } from './support/cluster.ts'

let cluster: TestCluster

beforeAll(async () => {
  cluster = await TestCluster.create()
}, 120_000)
afterAll(() => cluster.destroy(), 60_000)

interface Placed {
  readonly actingPrimary: number
  readonly acting: readonly number[]
  readonly pgId: string
}

describe('a cluster of real processes', () => {
  test('keeps objects, attributes and omaps, and tells of them', async () => {
    const hash = await cluster.put('first', randomBytes(100_000))
    await cluster.ok('object', 'setxattr', 'first', 'colour', 'blue')
    await cluster.ok('object', 'setomapval', 'first', 'key', 'value')
    expect(await cluster.hashOf('first')).toBe(hash)
    expect(await cluster.ok('object', 'getxattr', 'first', 'colour')).toBe('blue\n')
    expect(await cluster.json('object', 'listomapvals', 'first')).toEqual([{ key: 'key', value: 'value' }])
    expect(await cluster.json('object', 'stat', 'first')).toMatchObject({ sizeBytes: 100_000 })
    expect(await cluster.json('object', 'ls')).toEqual(['first'])
  })

  test.each(['osd.0', 'osd.1', 'osd.2', 'mon.a', 'mon.b', 'mon.c', 'nbd.0'])(
    '%s is killed: writes go on, and it comes back',
    async (name) => {
      const { pid } = await cluster.daemon(name)
      process.kill(pid, 'SIGKILL')
      const hashes = new Map<string, string>()
      for (let i = 0; i < 4; i++)
        hashes.set(`while-${name}-${i}`, await cluster.put(`while-${name}-${i}`, randomBytes(20_000)))
      await cluster.until(`${name} runs again`, async () => {
        const now = await cluster.daemon(name)
        return now.state === 'running' && now.pid !== pid
      })
      await cluster.untilHealthy()
      for (const [object, hash] of hashes) expect(await cluster.hashOf(object)).toBe(hash)
    },
    120_000,
  )

  test('every process at once: healthy again unattended, with every acknowledged byte', async () => {
    const hashes = new Map<string, string>()
    for (let i = 0; i < 6; i++) hashes.set(`before-cut-${i}`, await cluster.put(`before-cut-${i}`, randomBytes(50_000)))
    await cluster.powerCut()
    await cluster.start()
    for (const [object, hash] of hashes) expect(await cluster.hashOf(object)).toBe(hash)
  }, 180_000)

  test('an OSD that is stopped for 30 s and goes on: nothing stale, nothing lost', async () => {
    const name = 'paused'
    await cluster.put(name, randomBytes(1000))
    const { actingPrimary } = await cluster.json<Placed>('osd', 'map', 'objects', name)
    await cluster.signal(`osd.${actingPrimary}`, 'SIGSTOP')
    const pausedMs = Date.now()
    const hash = await cluster.put(name, randomBytes(2000))
    expect(await cluster.hashOf(name)).toBe(hash)
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, 30_000 - (Date.now() - pausedMs))))
    await cluster.signal(`osd.${actingPrimary}`, 'SIGCONT')
    expect(await cluster.hashOf(name)).toBe(hash)
    await cluster.untilHealthy()
    expect(await cluster.hashOf(name)).toBe(hash)
  }, 180_000)

  test('an OSD that was away recovers exactly what was written meanwhile', async () => {
    await cluster.ok('daemon', 'stop', 'osd.2')
    const before = await recovered()
    const hashes = new Map<string, string>()
    for (let i = 0; i < 10; i++) hashes.set(`away-${i}`, await cluster.put(`away-${i}`, randomBytes(10_000)))
    await cluster.ok('daemon', 'start', 'osd.2')
    await cluster.untilHealthy()
    const after = await recovered()
    expect(after.objects - before.objects).toBe(10)
    expect(after.bytes - before.bytes).toBe(100_000)
    for (const [object, hash] of hashes) expect(await cluster.hashOf(object)).toBe(hash)
  }, 120_000)

  test('a lost directory is filled again', async () => {
    const hash = await cluster.put('survivor', randomBytes(300_000))
    await cluster.ok('daemon', 'stop', 'osd.1')
    await rm((await cluster.daemon('osd.1')).dataDirectory, { recursive: true })
    await cluster.ok('osd', 'destroy', '1', '--yes-i-really-mean-it')
    await cluster.ok('daemon', 'start', 'osd.1')
    await cluster.untilHealthy()
    expect(await cluster.hashOf('survivor')).toBe(hash)
  }, 180_000)

  test('a flipped byte is found, mended from another copy, and never returned', async () => {
    const pattern = randomBytes(4096)
    const bytes = Buffer.concat(Array.from({ length: 64 }, () => pattern))
    const hash = await cluster.put('rotten', bytes)
    const { actingPrimary } = await cluster.json<Placed>('osd', 'map', 'objects', 'rotten')
    const name = `osd.${actingPrimary}`
    await cluster.ok('daemon', 'stop', name)
    await flipByte((await cluster.daemon(name)).dataDirectory, pattern)
    await cluster.ok('daemon', 'start', name)
    await cluster.untilHealthy()
    expect(await cluster.hashOf('rotten')).toBe(hash)
    expect(await cluster.hashOf('rotten')).toBe(hash)
  }, 120_000)

  test('a journal that lost its tail is noticed, and the OSD catches up', async () => {
    const hash = await cluster.put('journalled', randomBytes(9_000))
    const { dataDirectory, pid } = await cluster.daemon('osd.0')
    await cluster.ok('daemon', 'stop', 'osd.0')
    expect(pid).toBeGreaterThan(0)
    const journal = join(dataDirectory, 'store', 'journal')
    await truncate(journal, Math.floor((await stat(journal)).size / 2))
    await cluster.ok('daemon', 'start', 'osd.0')
    await cluster.untilHealthy()
    expect(await cluster.hashOf('journalled')).toBe(hash)
  }, 120_000)

  test('garbage, oversized and half-sent frames on every port change nothing', async () => {
    const hash = await cluster.put('untouched', randomBytes(5_000))
    const inputs = [
      randomBytes(70_000),
      Buffer.from('SHLO\xff\xff\xff\xff', 'latin1'),
      Buffer.alloc(3, 1),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    ]
    for (const { address, adminAddress } of await cluster.daemons()) {
      for (const target of new Set([address, adminAddress])) {
        for (const input of inputs) await shout(Number(target.split(':').at(-1)), input)
      }
    }
    expect(await cluster.hashOf('untouched')).toBe(hash)
    expect((await cluster.health()).status).toBe('HEALTH_OK')
  }, 60_000)

  test.each([
    [['object', 'get', 'nothing', '-'], 2, 'ENOENT'],
    [['object', 'put', 'x', '/nonexistent/file'], 2, 'ENOENT'],
    [['object', 'ls', '--pool', 'no-such-pool'], 2, 'ENOENT'],
    [['block', 'info', 'block/none'], 2, 'ENOENT'],
    [['block', 'create', 'block/x', '--size', 'many'], 22, 'EINVAL'],
    [['osd', 'out', '99'], 2, 'ENOENT'],
    [['pool', 'rm', 'objects'], 1, 'EPERM'],
    [['daemon', 'perf', 'osd.77'], 2, 'ENOENT'],
    [['pg', 'query', '99.0'], 2, 'ENOENT'],
  ])('%j fails with a code and a mend', async (words, exitCode, code) => {
    const { code: actual, stderr } = await cluster.run(...words)
    expect(stderr).toContain(code)
    expect(actual).toBe(exitCode)
  })

  test('Ctrl-C stops everything; the next start has the data', async () => {
    const hash = await cluster.put('kept', randomBytes(123_456))
    await cluster.stop()
    expect((await cluster.daemons()).every((daemon) => daemon.state === 'stopped')).toBe(true)
    await cluster.start()
    expect(await cluster.hashOf('kept')).toBe(hash)
  }, 120_000)
})

/** Copies that were made anew since the OSDs started, and their bytes. */
async function recovered(): Promise<{ readonly objects: number; readonly bytes: number }> {
  let objects = 0
  let bytes = 0
  for (const { name, state } of (await cluster.daemons()).filter((one) => one.kind === 'osd')) {
    if (state !== 'running') continue
    const { counters } = await cluster.json<{ counters: Record<string, number> }>('daemon', 'perf', name)
    objects += counters['recoveredObjects'] ?? 0
    bytes += counters['recoveredBytes'] ?? 0
  }
  return { objects, bytes }
}

/** Changes one byte of the first block that holds the pattern. */
async function flipByte(dataDirectory: string, pattern: Buffer): Promise<void> {
  const path = join(dataDirectory, 'store', 'data')
  const file = await open(path, 'r+')
  try {
    const chunk = Buffer.alloc(16 * 1024 * 1024)
    for (let position = 0; ; position += chunk.length) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, position)
      if (bytesRead === 0) throw new Error('the pattern is not on the disk')
      const at = chunk.subarray(0, bytesRead).indexOf(pattern)
      if (at < 0) continue
      await file.write(Buffer.from([(pattern[100] as number) ^ 0xff]), 0, 1, position + at + 100)
      return
    }
  } finally {
    await file.close()
  }
}

async function shout(port: number, bytes: Uint8Array): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(bytes)
  await Promise.race([once(socket, 'close').catch(() => undefined), new Promise((resolve) => setTimeout(resolve, 50))])
  socket.destroy()
}
