/** What only the real machine shows: other processes, signals, exit codes. The contract itself is in conformance.test.ts. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { connect, createServer, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { address } from '@shoal/base'
import { createRealEnv } from '@shoal/runtime'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { writeCrashDump } from '../src/crash-dump.ts'
import { lockByFile } from '../src/directory-lock.ts'
import { logFileBytesMax } from '../src/real-log.ts'
import { Receiver } from '../src/receiver.ts'

const env = createRealEnv({ name: 'test', logLevel: 'error' })
let directory = ''
const children: ChildProcess[] = []
const dump = { entity: 'osd.1', version: '1', reason: '', cause: undefined, events: [] }

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'shoal-runtime-'))
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await rm(directory, { recursive: true })
})

/** Runs a program of a few lines in a process of its own, with `env` of the name `child`. */
function run(body: string, logFile = join(directory, 'child.log'), crashDirectory?: string): ChildProcess {
  const index = join(import.meta.dirname, '..', 'src', 'index.ts')
  const program = `
    import { createRealEnv, installCrashHandlers } from ${JSON.stringify(index)}
    const env = createRealEnv(${JSON.stringify({ name: 'child', logFile, crashDirectory, version: '1.2.3' })})
    const directory = ${JSON.stringify(directory)}
    ${body}`
  const options = ['--import', 'tsx', '--conditions=source', '--input-type=module', '--eval', program]
  const child = spawn(process.execPath, options, {
    cwd: join(import.meta.dirname, '..', '..', '..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  return child
}

async function linesOf(file: string): Promise<readonly Record<string, unknown>[]> {
  const text = await readFile(file, 'utf8')
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

describe('the lock of a directory', () => {
  test('names its holder, and goes with it on SIGKILL', async () => {
    const child = run(`await env.disk.lock(directory); console.log('locked'); setInterval(() => {}, 1000)`)
    await once(child.stdout as NodeJS.ReadableStream, 'data')
    await expect(env.disk.lock(directory)).rejects.toMatchObject({
      code: 'EBUSY',
      hint: `child, process ${child.pid} has it: stop that first (shoal daemon ls)`,
    })
    child.kill('SIGKILL')
    await once(child, 'exit')
    await (await env.disk.lock(directory)).release()
  })

  test('as a file counts only while its process lives', async () => {
    const lock = await lockByFile(directory, 'osd.1, process 1')
    await expect(lockByFile(directory, 'me')).rejects.toMatchObject({ code: 'EBUSY' })
    await lock.release()
    const child = run('process.exit(0)')
    await once(child, 'exit')
    await writeFile(join(directory, 'lock'), `${child.pid}\nosd.2, process ${child.pid}`)
    await (await lockByFile(directory, 'me')).release()
    expect(await readdir(directory)).not.toContain('lock')
  })

  test('a missing directory is ENOENT', async () => {
    await expect(env.disk.lock(join(directory, 'nope'))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

describe('a crash', () => {
  test.each([
    ['a thrown error', `setTimeout(() => { throw new Error('the reason') }, 1)`, 'uncaught exception'],
    ['a rejection that nobody handles', `void Promise.reject(new Error('the reason'))`, 'unhandled rejection'],
    ['an abort', `env.abort('datasync failed', new Error('the reason'))`, 'datasync failed'],
  ])('by %s ends with code 70, the latest events and the reason', async (_what, cause, reason) => {
    const child = run(`installCrashHandlers(env); env.log.child('pg').debug('quiet', { n: 1 }); ${cause}`)
    const [code] = (await once(child, 'exit')) as [number]
    expect(code).toBe(70)
    const lines = await linesOf(join(directory, 'child.log'))
    expect(lines[0]).toMatchObject({ msg: 'aborting', reason })
    expect(lines[0]?.['cause']).toContain('the reason')
    expect(lines[1]).toMatchObject({ name: 'child', recent: true, subsystem: 'pg', message: 'quiet', fields: { n: 1 } })
  })

  test('leaves a report with the last 10,000 events, and keeps the newest reports', async () => {
    const crashes = join(directory, 'crash')
    const noise = `for (let i = 0; i < 10_050; i++) env.log.child('pg').debug('event', { i })`
    const child = run(`${noise}; env.abort('the reason', new Error('why'))`, undefined, crashes)
    await once(child, 'exit')
    const [id = ''] = await readdir(crashes)
    const meta = JSON.parse(await readFile(join(crashes, id, 'meta'), 'utf8')) as Record<string, unknown>
    expect(meta).toMatchObject({ crash_id: id, entity_name: 'child', reason: 'the reason', shoal_version: '1.2.3' })
    expect((meta['backtrace'] as string[])[0]).toBe('Error: why')
    const events = await linesOf(join(crashes, id, 'log'))
    expect(events).toHaveLength(10_000)
    expect(events[0]).toMatchObject({ level: 'debug', subsystem: 'pg', message: 'event', i: 51 })
    expect(events.at(-1)).toMatchObject({ level: 'error', message: 'aborting' })
    for (let i = 0; i < 20; i++) expect(writeCrashDump(crashes, { ...dump, reason: String(i) })).toBe(true)
    const kept = await readdir(crashes)
    expect(kept).toHaveLength(16)
    expect(kept).not.toContain(id)
    expect(writeCrashDump('/dev/full/no', dump)).toBe(false)
  })

  test('ends the process even when nothing can be logged', async () => {
    const child = run(`env.abort('no room')`, '/dev/full')
    expect(await once(child, 'exit')).toEqual([70, null])
  })
})

describe('the log', () => {
  test('writes its level and above; the level can be set at run time', async () => {
    const file = join(directory, 'a.log')
    const { log } = createRealEnv({ name: 'osd.1', logFile: file, logLevel: 'warn' })
    log.info('unheard')
    log.child('store').warn('heard', { n: 1 })
    log.setLevel('debug')
    log.child('a').child('b').debug('now heard')
    expect(await linesOf(file)).toMatchObject([
      { name: 'osd.1', msg: 'heard', subsystem: 'store', n: 1 },
      { msg: 'now heard', subsystem: 'a.b' },
    ])
  })

  test('goes by the levels of the nearest subsystem that has its own', async () => {
    const file = join(directory, 'a.log')
    const { log } = createRealEnv({ name: 'osd.1', logFile: file, subsystem: 'osd' })
    const maps = log.child('maps')
    const ms = log.child('ms')
    const all = (what: string) => {
      for (const one of [log, maps, ms]) one.debug(what)
    }
    all('by default')
    log.setLevels('osd', { log: 10, memory: 10 })
    log.setLevels('ms', { log: 0, memory: 0 })
    all('osd')
    ms.info('not even this')
    ms.warn('but this')
    log.setLevels('osd', undefined)
    log.setLevels('', { log: 0, memory: 1 })
    maps.info('kept, not written')
    expect(await linesOf(file)).toMatchObject([
      { subsystem: 'osd', msg: 'osd' },
      { subsystem: 'osd.maps', msg: 'osd' },
      { subsystem: 'osd.ms', msg: 'but this' },
    ])
    expect(log.recentEvents().map((event) => `${event.subsystem} ${event.message}`)).toEqual([
      'osd by default',
      'osd.maps by default',
      'osd.ms by default',
      'osd osd',
      'osd.maps osd',
      'osd.ms but this',
      'osd.maps kept, not written',
    ])
  })

  test('sets a large file aside', async () => {
    const file = join(directory, 'a.log')
    await writeFile(file, '')
    await truncate(file, logFileBytesMax)
    const { log } = createRealEnv({ name: 'osd.1', logFile: file })
    log.info('fresh')
    expect(await readdir(directory)).toEqual(['a.log', 'a.log.1'])
    expect(await linesOf(file)).toMatchObject([{ msg: 'fresh' }])
  })
})

test('a peer that resets is ECONNRESET', async () => {
  const server = createServer((socket) => socket.resetAndDestroy())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const error = await new Promise((resolve) => {
    const stream = env.network.connect(address(`127.0.0.1:${(server.address() as { port: number }).port}`))
    stream.attach({
      onOpen: () => stream.write([new Uint8Array(10)]),
      onData() {},
      onDrain() {},
      onClose: resolve,
    })
  })
  expect(error).toMatchObject({ code: 'ECONNRESET', retry: true })
  server.close()
})

test('a Node that keeps handles elsewhere is told at once, and no connection hangs', () => {
  const unlike = Object.assign(new Socket(), { _handle: undefined })
  expect(() => new Receiver().adopt(unlike)).toThrow(/missing: the handle of a socket/)
})

test('an address that nobody can have is refused like any other', async () => {
  for (const bad of ['nonsense', '127.0.0.1:0', '127.0.0.1:70000']) {
    const error = await new Promise((resolve) => {
      const stream = env.network.connect(address(bad))
      stream.attach({ onOpen() {}, onData() {}, onDrain() {}, onClose: resolve })
    })
    expect(error).toMatchObject({ code: 'ECONNREFUSED' })
  }
  await expect(env.network.listen(address('nonsense'), () => undefined)).rejects.toMatchObject({ code: 'EINVAL' })
})

describe('a socket in the file system', () => {
  const listen = (path: string) => env.network.listen(address(`unix:${path}`), () => undefined)

  test('is not taken from a process that lives and is too busy to accept; once it is killed it is', async () => {
    const path = join(directory, 'busy.sock')
    const options = JSON.stringify({ path, backlog: 1 })
    const child = run(`
      import { createServer } from 'node:net'
      createServer().listen(${options}, () => console.log('listening'))`)
    await once(child.stdout as NodeJS.ReadableStream, 'data')
    child.kill('SIGSTOP')
    const waiting: Socket[] = []
    try {
      let full: string | undefined
      while (full === undefined) {
        const socket = connect({ path })
        waiting.push(socket)
        full = await new Promise<string | undefined>((resolve) => {
          socket.once('connect', () => resolve(undefined))
          socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
        })
      }
      expect(full).toBe('EAGAIN')
      const hint = `see who has it: ss -lxp src ${path}`
      await expect(listen(path)).rejects.toMatchObject({ code: 'EBUSY', hint })
      expect(await readdir(directory)).toContain('busy.sock')
      child.kill('SIGKILL')
      await once(child, 'exit')
      await (await listen(path)).close()
    } finally {
      for (const socket of waiting) socket.destroy()
    }
  })

  test('does not replace a file', async () => {
    const path = join(directory, 'file')
    await writeFile(path, 'bytes')
    await expect(listen(path)).rejects.toMatchObject({ code: 'EEXIST', hint: expect.stringContaining('another path') })
    expect(await readFile(path, 'utf8')).toBe('bytes')
  })
})

test('a closed store says so', async () => {
  const store = await env.keyValue.open(join(directory, 'kv'))
  await store.close()
  await expect(store.get(new Uint8Array(1))).rejects.toMatchObject({ code: 'ESHUTDOWN' })
  await expect(store.batch([], { sync: true })).rejects.toMatchObject({ code: 'ESHUTDOWN' })
})

test('a delay beyond what a timer can hold does not fire at once', async () => {
  let fired = false
  const timer = env.timers.after(2 ** 40, () => {
    fired = true
  })
  await new Promise((resolve) => setTimeout(resolve, 20))
  timer.cancel()
  expect(fired).toBe(false)
})
