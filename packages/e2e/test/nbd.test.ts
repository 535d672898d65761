/** The NBD gateway of a real cluster, as people use it: snapshots, changes, TLS, sockets, limits and counters. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeCertificates } from '../../gateway-nbd/test/certificates.ts'
import { shoal, TestCluster } from './support/cluster.ts'

const run = promisify(execFile)

let cluster: TestCluster
let directory: string
let gateway: string

beforeAll(async () => {
  cluster = await TestCluster.create()
  directory = mkdtempSync(join(tmpdir(), 'shoal-nbd-'))
  gateway = `nbd://${(await cluster.daemon('nbd.0')).address}`
  await cluster.ok('block', 'create', 'disk', '--size', '64M')
}, 180_000)
afterAll(async () => {
  await cluster.destroy()
  rmSync(directory, { recursive: true })
}, 60_000)

async function qemuIo(url: string, ...commands: readonly string[]): Promise<string> {
  const { stdout } = await run('qemu-io', ['-f', 'raw', ...commands.flatMap((one) => ['-c', one]), url])
  expect(stdout).not.toContain('failed')
  return stdout
}

/** `nbd serve` until `use` is over; what it printed is passed on. */
async function serving<T>(words: readonly string[], use: (urls: readonly string[]) => Promise<T>): Promise<T> {
  const all = [shoal, '--data', cluster.directory, '--format', 'json', 'nbd', 'serve', ...words]
  const child = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const [text] = (await once(child.stdout, 'data')) as [Buffer]
    return await use((JSON.parse(text.toString()) as { readonly urls: readonly string[] }).urls)
  } finally {
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
  }
}

interface Extent {
  readonly offset: number
  readonly length: number
  readonly type: number
}

test('a snapshot is served as it was, and what changed since is told', async () => {
  const url = `${gateway}/block/disk`
  await qemuIo(url, 'write -P 1 0 8M')
  await cluster.ok('block', 'snap', 'create', 'disk@monday')
  await qemuIo(url, 'write -P 2 5M 64k', 'discard 0 4M')
  const { stdout: old } = await run('qemu-io', ['-r', '-f', 'raw', '-c', 'read -P 1 0 8M', `${url}@monday`])
  expect(old).not.toContain('failed')
  await qemuIo(url, 'read -P 0 0 4M', 'read -P 1 4M 1M', 'read -P 2 5M 64k')
  await expect(run('qemu-io', ['-f', 'raw', '-c', 'write 0 4k', `${url}@monday`])).rejects.toThrow()
  const { stdout } = await run('nbdinfo', ['--json', '--map=qemu:dirty-bitmap:monday', url])
  const dirty = (JSON.parse(stdout) as Extent[]).filter(({ type }) => type === 1)
  const mebibyte = 1024 * 1024
  expect(dirty.map(({ offset, length }) => [offset, length])).toEqual([
    [0, 4 * mebibyte],
    [5 * mebibyte, 65_536],
  ])
}, 120_000)

test('`nbd serve` speaks TLS on a socket, to whom it knows, and lets nobody write who must not', async () => {
  const certificates = await makeCertificates()
  const path = join(directory, 'nbd.sock')
  const file = (name: string): string => join(certificates.directory, name)
  const words = [
    ...['disk@monday', '--socket', path, '--read-only', '--tls-certificate', file('server-cert.pem')],
    ...['--tls-key', file('server-key.pem'), '--tls-client-authority', file('ca-cert.pem')],
  ]
  try {
    await serving(words, async ([url]) => {
      expect(url).toBe(`nbds+unix:///block/disk@monday?socket=${path}`)
      const known = `${url}&tls-hostname=localhost&tls-certificates=`
      const { stdout } = await run('nbdinfo', ['--json', `${known}${certificates.client}`])
      expect(JSON.parse(stdout)).toMatchObject({ TLS: true, exports: [{ is_read_only: true }] })
      await expect(run('nbdinfo', [`${known}${certificates.stranger}`])).rejects.toThrow()
      await expect(run('nbdinfo', [`${url?.replace('nbds', 'nbd')}`])).rejects.toThrow()
    })
  } finally {
    rmSync(certificates.directory, { recursive: true })
  }
}, 120_000)

test('limits are changed while it runs, and counters tell who does what', async () => {
  await cluster.ok('config', 'set', 'client', 'nbd_max_export_connections', '1')
  await cluster.until('the gateway goes by it', () =>
    run('nbdcopy', ['--connections=2', `${gateway}/block/disk`, 'null:']).then(
      () => false,
      () => true,
    ),
  )
  const client = spawn('qemu-io', ['-f', 'raw', `${gateway}/block/disk`], { stdio: ['pipe', 'pipe', 'inherit'] })
  client.stdin.write('read 0 64k\n')
  await cluster.until('the client is seen', async () => {
    const perf = await cluster.json<{ readonly exports: Readonly<Record<string, unknown>> }>('daemon', 'perf', 'nbd.0')
    const seen = perf.exports['block/disk'] as {
      readonly commands: Readonly<Record<string, { readonly bytes: number }>>
    }
    return (seen?.commands['read']?.bytes ?? 0) >= 65_536
  })
  client.stdin.end('quit\n')
  await once(client, 'exit')
  await cluster.ok('config', 'rm', 'client', 'nbd_max_export_connections')
}, 120_000)

test('what makes no sense is refused before anything listens', async () => {
  for (const words of [
    ['--tls', 'sometimes'],
    ['--tls', 'required'],
    ['--tls-certificate', '/nowhere', '--tls-key', '/nowhere'],
    ['--max-connections', 'many'],
    ['--listen', 'nonsense'],
  ]) {
    const { code, stderr } = await cluster.run('nbd', 'serve', 'disk', ...words)
    expect({ words, code, stderr }).toEqual({ words, code: 22, stderr: expect.stringContaining('EINVAL') })
  }
}, 120_000)
