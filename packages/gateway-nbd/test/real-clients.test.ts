/** What nbdsh, qemu, fio and nbdfuse make of the gateway beyond the basics: chunks, contexts, restarts, whole copies. */
import { execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { address } from '@shoal/base'
import { NbdServer } from '@shoal/gateway-nbd'
import { createRealEnv } from '@shoal/runtime'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MemoryDevice, memoryExports } from './memory-device.ts'

const run = promisify(execFile)
const mebibyte = 1024 * 1024
const sizeBytes = 16 * mebibyte

let server: NbdServer
let disk: MemoryDevice
let port: number
let directory: string

beforeEach(async () => {
  disk = new MemoryDevice(sizeBytes)
  directory = mkdtempSync(join(tmpdir(), 'shoal-nbd-'))
  port = await start(0)
})
afterEach(async () => {
  await server.close()
  rmSync(directory, { recursive: true })
})

async function start(onPort: number): Promise<number> {
  server = new NbdServer(createRealEnv({ name: 'nbd-test', logLevel: 'error' }), memoryExports({ 'pool/disk': disk }))
  return Number((await server.listen(address(`127.0.0.1:${onPort}`))).split(':')[1])
}

const url = (): string => `nbd://127.0.0.1:${port}/pool/disk`
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** Runs statements of nbdsh on a handle `h`; the last line that they print. */
async function nbdsh(...statements: readonly string[]): Promise<unknown> {
  const script = ['import json', ...statements].flatMap((one) => ['-c', one])
  // With the Python that the package was installed for, whatever else there is.
  const env = { ...process.env, PATH: '/usr/bin:/bin' }
  const { stdout } = await run('nbdsh', script, { env })
  return JSON.parse(stdout.trim().split('\n').at(-1) as string)
}

describe('nbdsh', () => {
  test('reads data and holes as chunks, and one chunk where it asks for that', async () => {
    await disk.write(4096, new Uint8Array(4096).fill(7))
    const connect = `h.connect_uri("${url()}")`
    const chunks = [
      'seen = []',
      'f = lambda data, offset, status, error: seen.append([offset, len(data), status])',
      'h.pread_structured(12288, 0, f)',
      'h.pread_structured(12288, 0, f, nbd.CMD_FLAG_DF)',
      'print(json.dumps(seen))',
    ]
    // 1 is data, 2 a hole.
    expect(await nbdsh(connect, ...chunks)).toEqual([
      [0, 4096, 2],
      [4096, 4096, 1],
      [8192, 4096, 2],
      [0, 12288, 1],
    ])
  })

  test('asks for two contexts at once, and for one extent of each', async () => {
    await disk.write(0, new Uint8Array(8192).fill(1))
    disk.takeSnapshot('monday')
    await disk.write(4096, new Uint8Array(4096).fill(2))
    const status = (flags: string): Promise<unknown> =>
      nbdsh(
        'h.add_meta_context("base:allocation")',
        'h.add_meta_context("qemu:dirty-bitmap:monday")',
        `h.connect_uri("${url()}")`,
        'seen = {}',
        'f = lambda name, offset, entries, error: seen.update({name: entries})',
        `h.block_status(16384, 0, f${flags})`,
        'print(json.dumps(seen))',
      )
    expect(await status('')).toEqual({
      'base:allocation': [8192, 0, 8192, 3],
      'qemu:dirty-bitmap:monday': [4096, 0, 4096, 1, 8192, 0],
    })
    expect(await status(', nbd.CMD_FLAG_REQ_ONE')).toEqual({
      'base:allocation': [8192, 0],
      'qemu:dirty-bitmap:monday': [4096, 0],
    })
  })

  test('gets the errors of the protocol, also where its own checks are off, and goes on', async () => {
    const tries = [
      ...['h.set_strict_mode(0)', `h.connect_uri("${url()}")`, 'size = h.get_size()', 'seen = []'],
      `def attempt(f):
        try: f(); seen.append("done")
        except nbd.Error as e: seen.append(e.errno)`,
      'attempt(lambda: h.pwrite(b"xx", size - 1))',
      'attempt(lambda: h.pread(2, size - 1))',
      'attempt(lambda: h.trim(4096, size))',
      'attempt(lambda: h.zero(4096, 0, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE))',
      'attempt(lambda: h.zero(4096, 0, nbd.CMD_FLAG_FAST_ZERO))',
      'attempt(lambda: h.pwrite(b"x" * 4096, 0, nbd.CMD_FLAG_REQ_ONE))',
      'attempt(lambda: h.cache(4096, 0))',
      'attempt(lambda: h.pwrite(b"fine", 0, nbd.CMD_FLAG_FUA))',
      'print(json.dumps(seen))',
    ]
    expect(await nbdsh(...tries)).toEqual(['ENOSPC', 'EINVAL', 'EINVAL', 'ENOTSUP', 'done', 'EINVAL', 'done', 'done'])
    expect(Buffer.from(disk.bytes.subarray(0, 4)).toString()).toBe('fine')
  })

  test('lists exports and their contexts before it chooses', async () => {
    disk.takeSnapshot('monday')
    const listed = await nbdsh(
      'h.set_opt_mode(True)',
      `h.connect_tcp("127.0.0.1", "${port}")`,
      'names = []',
      'h.opt_list(lambda name, description: names.append(name))',
      'h.set_export_name("pool/disk")',
      'h.opt_list_meta_context(lambda name: names.append(name))',
      'h.opt_abort()',
      'print(json.dumps(names))',
    )
    expect(listed).toEqual(['pool/disk', 'base:allocation', 'qemu:dirty-bitmap:monday'])
  })
})

describe('whole copies', () => {
  test('qemu-img converts in and out, compares, and maps what it wrote', async () => {
    const bytes = randomBytes(3 * mebibyte)
    const raw = join(directory, 'raw')
    const source = Buffer.alloc(sizeBytes)
    bytes.copy(source, 5 * mebibyte)
    writeFileSync(raw, source)
    const qcow2 = join(directory, 'qcow2')
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2])
    await run('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', qcow2, url()])
    expect(sha256(disk.bytes)).toBe(sha256(source))
    expect((await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', qcow2, url()])).stdout).toContain('identical')
    const { stdout } = await run('qemu-img', ['map', '--output=json', '-f', 'raw', url()])
    const extents = JSON.parse(stdout) as { start: number; length: number; data: boolean }[]
    expect(extents.filter(({ data }) => data).map(({ start, length }) => [start, length])).toEqual([
      [5 * mebibyte, 3 * mebibyte],
    ])
    const back = join(directory, 'back')
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', url(), back])
    expect(sha256(readFileSync(back))).toBe(sha256(source))
  })

  test('nbdcopy leaves the holes of a file holes, and brings it back with the same digest', async () => {
    const source = Buffer.alloc(sizeBytes)
    randomBytes(mebibyte).copy(source, 2 * mebibyte)
    const [file, back] = [join(directory, 'file'), join(directory, 'back')]
    writeFileSync(file, source)
    await run('nbdcopy', [file, url()])
    expect(sha256(disk.bytes)).toBe(sha256(source))
    writeFileSync(back, '')
    await run('nbdcopy', [url(), back])
    expect(sha256(readFileSync(back))).toBe(sha256(source))
    const { stdout } = await run('nbdinfo', ['--map', '--totals', '--json', url()])
    const totals = JSON.parse(stdout) as { description: string; size: number }[]
    expect(totals.find(({ description }) => description === 'hole,zero')?.size).toBe(sizeBytes - mebibyte)
  })

  test('fio verifies what it wrote, with 32 requests under way', async () => {
    const results = join(directory, 'results')
    await run('fio', [
      ...['--name=nbd', '--ioengine=nbd', `--uri=${url()}`, '--rw=randrw', '--bs=1k-64k', '--size=8m', '--iodepth=32'],
      ...['--verify=crc32c', '--verify_fatal=1', `--output=${results}`, '--output-format=json'],
    ])
    expect(JSON.parse(readFileSync(results, 'utf8'))).toMatchObject({ jobs: [{ error: 0 }] })
  })
})

test('a client that is killed with reads and writes outstanding leaves nothing behind, and others notice nothing', async () => {
  const file = join(directory, 'file')
  writeFileSync(file, randomBytes(sizeBytes))
  // Holes would not be read.
  await disk.write(0, randomBytes(sizeBytes))
  for (const words of [
    ['--requests=64', '--connections=4', url(), 'null:'],
    ['--requests=64', '--connections=4', file, url()],
  ]) {
    const held = disk.hold()
    const client = spawn('nbdcopy', words, { stdio: 'ignore' })
    await held.begun
    client.kill('SIGKILL')
    await once(client, 'exit')
    held.release()
    await expect.poll(() => server.counters.connections).toBe(0)
  }
  expect((await run('nbdinfo', ['--size', url()])).stdout.trim()).toBe(String(sizeBytes))
})

test('a write that was acknowledged stays, though its client was killed right after', async () => {
  const script = `h.connect_uri("${url()}"); h.pwrite(b"kept", 8192); import os; os.kill(os.getpid(), 9)`
  const env = { ...process.env, PATH: '/usr/bin:/bin' }
  await expect(run('nbdsh', ['-c', script], { env })).rejects.toMatchObject({ signal: 'SIGKILL' })
  expect(Buffer.from(disk.bytes.subarray(8192, 8196)).toString()).toBe('kept')
})

test('qemu goes on with a gateway that was restarted: nothing fails, and nothing acknowledged is lost', async () => {
  const options = `driver=nbd,host=127.0.0.1,port=${port},export=pool/disk,reconnect-delay=60`
  const qemu = spawn('qemu-io', ['--image-opts', options], { stdio: ['pipe', 'pipe', 'inherit'] })
  let output = ''
  qemu.stdout.on('data', (data: Buffer) => {
    output += data.toString()
  })
  const answers = async (line: string, answer: string): Promise<void> => {
    qemu.stdin.write(`${line}\n`)
    await expect.poll(() => output, { timeout: 60_000 }).toContain(answer)
  }
  await answers('write -P 1 0 64k', 'wrote 65536/65536 bytes at offset 0')
  await server.close()
  await start(port)
  await answers('write -P 2 64k 64k', 'wrote 65536/65536 bytes at offset 65536')
  await answers('read -P 1 0 64k', 'read 65536/65536 bytes at offset 0')
  await answers('read -P 2 64k 64k', 'read 65536/65536 bytes at offset 65536')
  qemu.stdin.end('quit\n')
  await once(qemu, 'exit')
  expect(output).not.toMatch(/error|failed/i)
}, 120_000)
